"""dlframe from Python and notebooks; torch is imported when training or loading starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.config.compose import compose as _compose
from dlframe.config.compose import explain
from dlframe.config.validate import validate
from dlframe.errors import DlframeError

if TYPE_CHECKING:
    from dlframe.training.predictor import Predictor
    from dlframe.training.run import Run

__all__ = ["compose", "load", "train"]


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
