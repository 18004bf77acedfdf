"""Which run to go on with, and from where."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlframe.config.source import AUTO
from dlframe.config.validate import complete, effective
from dlframe.errors import ConfigError, DataError, DlframeError, TrainingDivergedError
from dlframe.tracking.earlier import earlier, unfinished
from dlframe.tracking.whole import read_json
from dlframe.training.checkpoint import newest
from dlframe.training.prepare import CHECKPOINT, Parts, read_config

__all__ = ["check_data", "last_checkpoint", "recorded_threads", "unfinished_like"]


def unfinished_like(config: dict[str, Any]) -> Iterator[Path]:
    """Yield the folders of unfinished runs of the same config, the latest first.

    The same is what decides the result, and the experiment that the run belongs to. One that diverged
    would do so again.

    Args:
        config: validated; its task and loss may be left to the data.
    """
    for folder in unfinished(Path(config["tracking"]["root"]).absolute()):
        try:
            recorded = read_config(folder)
            if _same(config, recorded) and not _diverged(folder):
                yield folder
        except DlframeError:  # no config yet, or one of components that are not installed any more
            continue


def _diverged(folder: Path) -> bool:
    return TrainingDivergedError.__name__ in (earlier(folder).error or "")


def _same(config: dict[str, Any], recorded: dict[str, Any]) -> bool:
    if config["tracking"]["experiment"] != recorded["tracking"]["experiment"]:
        return False
    if AUTO in (config["task"]["component"], config["loss"]["component"]):
        try:
            config = complete(config, recorded["task"]["component"])
        except ConfigError:
            return False
    return effective(config) == effective(recorded)


def check_data(folder: Path, parts: Parts) -> None:
    """Compare the data with what the run in ``folder`` was trained on.

    Raises:
        DataError: it is not the same.
    """
    path = folder / "splits.json"
    if not path.is_file():  # the run ended before anything was trained
        return
    recorded = read_json(path)["fingerprint"]
    found = parts.splits.summary["fingerprint"]
    if found != recorded:
        raise DataError(
            f"the data has changed since the run (fingerprint {found[:12]}, recorded "
            f"{recorded[:12]}); restore it, or train anew (`dlframe train` with resume=never)"
        )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint to go on from; None begins anew. Says what is wrong with a damaged one."""
    path, damaged = newest(folder / CHECKPOINT.parent)
    for sentence in damaged:
        instead = f"{path.name} is used instead" if path else "training begins anew"
        print(f"dlframe: {sentence}; {instead}", file=sys.stderr)
    return path


def recorded_threads(folder: Path) -> int | None:
    """Return the number of CPU threads that the run had; sums in another order differ in digits."""
    path = folder / "environment.json"
    if not path.is_file():
        return None
    threads = read_json(path).get("threads")
    return int(threads) if threads else None
