"""dlframe from Python and notebooks; torch is imported when training or loading starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.config.compose import compose as _compose
from dlframe.config.compose import explain
from dlframe.config.validate import validate
from dlframe.errors import DlframeError

if TYPE_CHECKING:
    from dlframe.analysis.comparison import Comparison
    from dlframe.training.outcome import Run
    from dlframe.training.predictor import Predictor

__all__ = ["compare", "compose", "load", "train"]


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


def train(*overrides: str, config_dir: str | Path | None = None) -> "Run":
    """Train, test and record one run.

    Args:
        overrides: as on the command line, such as ``"architecture=cnn"``, ``"data=mnist"``.
        config_dir: a folder of YAML files of your own.

    Returns:
        The run: its id, metrics, history and folder.

    Raises:
        DlframeError: the config, the data or the disk do not allow it, or the loss diverged.

    Example:
        >>> run = dlframe.train("architecture=cnn", "trainer.max_epochs=3")
        >>> run.metrics["test/accuracy"]
        0.98
    """
    config = compose(*overrides, config_dir=config_dir)
    from dlframe.training.run import execute

    return execute(config, overrides=overrides, command=["dlframe.train", *overrides])


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
    """Compare recorded runs: grouped by config, averaged over seeds, tested against each other.

    Args:
        select: as on the command line: ids of runs or multiruns, ``last`` for the latest multirun,
            filters such as ``"optimizer=adam"``; none takes all runs.
        by: config keys to group by; None takes all that vary, but for the seed.
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
