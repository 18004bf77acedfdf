"""``dlframe resume``: go on with a run that was interrupted."""

from pathlib import Path

from dlframe.cli.parser import command_parser
from dlframe.cli.recorded import add_run_arguments, folder_of
from dlframe.cli.result import report
from dlframe.errors import CheckpointError, RunNotFoundError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Train on from the run's last whole checkpoint, under the same id."""
    parser = command_parser(
        "resume",
        "Go on with a run that was killed or stopped, from its last checkpoint (or from its beginning, "
        "if it had none yet). Config, data and seed are those of its record; on a CPU the result is "
        "that of a run which was never interrupted. `last` is the latest unfinished run. `dlframe "
        "train resume=auto ...` does the same for the latest unfinished run of the same config, and "
        "begins a new one where there is none.",
        "last",
        "20261121-093412-k3x9",
    )
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    folder = _latest(Path(arguments.root)) if arguments.run == "last" else folder_of(arguments)
    # What is fetched from MLflow is what the run's model is built from, and no more.
    if folder.parent != Path(arguments.root).absolute():
        raise CheckpointError(
            f"the record of run {folder.name!r} in MLflow holds no checkpoint to go on from; go on "
            f"where it was trained, or train it again with `dlframe replay {folder.name}`"
        )
    from dlframe.training.run import resume

    report(resume(folder, command=["dlframe", "resume", *argv]), as_json=arguments.json)
    return 0


def _latest(root: Path) -> Path:
    from dlframe.tracking.earlier import unfinished

    folder = next(unfinished(root.absolute()), None)
    if folder is None:
        raise RunNotFoundError(
            f"no run in {str(root)!r} is unfinished; name one with its id, or say where the runs are "
            "with --root"
        )
    return folder
