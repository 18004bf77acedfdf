"""dlframe from Python and notebooks; torch is imported when training or loading starts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.config.compose import compose as _compose
from dlframe.config.compose import explain
from dlframe.config.folds import all_folds, refuse_all_folds
from dlframe.config.validate import validate
from dlframe.errors import ConfigError, DlframeError

if TYPE_CHECKING:
    from dlframe.analysis.comparison import Comparison
    from dlframe.training.outcome import Run
    from dlframe.training.predictor import Predictor

__all__ = ["compare", "compose", "cross_validate", "load", "train"]


def compose(*overrides: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Return the complete config of a run without running it.

    Args:
        overrides: as on the command line, such as ``"optimizer.lr=3e-4"``.
        config_dir: a folder of YAML files of your own.

    Raises:
        ConfigError: an override does not fit.
    """
    folder = None if config_dir is None else Path(config_dir)
    composed = _compose(overrides, config_dir=folder)
    try:
        return validate(composed)
    except DlframeError as error:
        raise explain(error, overrides, folder) from error


def train(
    *overrides: str, data: tuple[Any, Any] | None = None, config_dir: str | Path | None = None
) -> "Run":
    """Train, test and record one run.

    Args:
        overrides: as on the command line, such as ``"architecture=cnn"``, ``"data=mnist"``.
        data: inputs and targets in memory, in place of an override ``"data=..."``: an array and one
            target for each row, or a DataFrame and names of its columns; targets are None where there
            are none. The record has their SHA-256. ``dlframe show data/arrays`` and ``data/frame`` list
            their options, which are overrides such as ``"data.batch_size=16"``.
        config_dir: a folder of YAML files of your own.

    Returns:
        The run: its id, metrics, history and folder.

    Raises:
        DlframeError: the config, the data or the disk do not allow it, or the loss diverged.

    Example:
        >>> run = dlframe.train("architecture=cnn", "trainer.max_epochs=3")
        >>> run.metrics["test/accuracy"]
        0.98
        >>> dlframe.train("architecture=mlp", data=(frame, "price"))
    """
    with _in_memory(data, overrides) as given:
        config = compose(*given, config_dir=config_dir)
        refuse_all_folds(config["data"]["folds"], config["data"]["fold"])
        if data is not None and config["trainer"]["devices"] != 1:
            raise ConfigError(
                "data in memory is for one process; got trainer.devices="
                f"{config['trainer']['devices']}: save it to a file, and train with data=npz or "
                "data=parquet"
            )
        from dlframe.training.run import execute

        return execute(config, overrides=given, command=["dlframe.train", *given])


@contextmanager
def _in_memory(
    data: tuple[Any, Any] | None, overrides: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Keep data where its component finds it, and add the overrides that select this component."""
    if data is None:
        yield overrides
        return
    from dlframe.components.data.held import hold, holding

    if any(override.lstrip("+~").startswith("data=") for override in overrides):
        raise ConfigError(
            "data is given twice; leave out the override data=..., or the argument data"
        )
    held = hold(data)
    with holding(held) as digest:
        yield (f"data={held.component}", f"data.content={digest}", *overrides)


def cross_validate(*overrides: str, config_dir: str | Path | None = None) -> "Comparison":
    """Train, test and record a run with each fold, and average them.

    Args:
        overrides: as on the command line, ``"data.folds=5"`` or a preset that has it among them.
        config_dir: a folder of YAML files of your own.

    Returns:
        The comparison of one group, as ``compare`` gives it; several can be tested against each other
        with that.

    Raises:
        DlframeError: as for ``train``, or no folds or a single one are asked for.

    Example:
        >>> found = dlframe.cross_validate("data=wine", "data.folds=5")
        >>> found.metrics[0].summaries["all runs"].mean
        0.97
    """
    config = compose(*overrides, config_dir=config_dir)
    folds = all_folds(config)
    if folds is None:
        fold = config["data"]["fold"]
        remedy = "give data.folds=5" if fold is None else f"leave out data.fold={fold}"
        raise ConfigError(f"cross-validation trains a run with each fold; {remedy}")
    if not config["tracking"]["enabled"]:
        raise ConfigError(
            "cross-validation averages what its runs have recorded; leave out tracking.enabled=false"
        )
    from dlframe.analysis.multirun import Multirun
    from dlframe.training.run import execute

    command = ["dlframe.cross_validate", *overrides]
    multirun = Multirun(config, config["tracking"], ["data.fold"], command)
    with multirun.around():
        for fold in range(folds):
            chosen = {**config, "data": {**config["data"], "fold": fold}}
            words = [*overrides, f"data.fold={fold}"]
            execute(chosen, overrides=words, command=command, parent=multirun.id, wait=False)
    found, note = multirun.comparison, multirun.wait()
    assert found is not None
    return found if note is None else replace(found, notes=[*found.notes, note])


def load(run: str, *, root: str | Path = "runs", uri: str | None = None) -> "Predictor":
    """Rebuild a recorded run's trained model from the run's own config.

    Args:
        run: the run's id, a unique part of it, its MLflow run id, or ``last``.
        root: the folder of the runs.
        uri: the MLflow store, where the run is not under ``root``.

    Raises:
        RunNotFoundError: no run, or several, answer to the id.

    Example:
        >>> dlframe.load(run.id).predict(rows)
    """
    from dlframe.tracking.runs import find_run
    from dlframe.training.predictor import Predictor

    return Predictor.from_folder(find_run(run, Path(root), uri).folder)


def compare(
    *select: str,
    by: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    experiment: str | None = None,
    root: str | Path = "runs",
    uri: str | None = None,
) -> "Comparison":
    """Compare recorded runs: grouped by config, averaged over seeds and folds, tested.

    Args:
        select: as on the command line: ids of runs or multiruns, ``last`` for the latest multirun,
            filters such as ``"optimizer=adam"``; none takes all runs.
        by: config keys to group by; None takes all that vary, but for seed and fold.
        metrics: names, with ``:min`` or ``:max`` behind where dlframe cannot know which is better.
        baseline: the group to test the others against.
        experiment: name of the experiment that the runs belong to.
        root: the folder of the runs.
        uri: an MLflow store to read instead of the folder.

    Raises:
        DlframeError: no such runs, keys, metrics or group, or they cannot be read.

    Example:
        >>> found = dlframe.compare("last", metrics=["test/loss"])
        >>> found.metrics[0].summaries["activation=relu"].mean
        0.31
    """
    from dlframe.analysis.chosen import read_chosen
    from dlframe.analysis.comparison import compare as compared

    chosen, odd = read_chosen(select, root=Path(root), uri=uri, experiment=experiment)
    return compared(
        chosen.runs, by=by, metrics=metrics, baseline=baseline, named=chosen.named, notes=odd
    )
