"""Which run to go on with, and from where."""

import json
import sys
from pathlib import Path
from typing import Any

from dlframe.config.source import AUTO
from dlframe.config.validate import complete, effective
from dlframe.errors import ConfigError, DataError, DlframeError
from dlframe.tracking.earlier import unfinished
from dlframe.training.checkpoint import newest
from dlframe.training.prepare import CHECKPOINT, Parts, read_config

__all__ = ["check_data", "find_unfinished", "last_checkpoint", "recorded_threads"]


def find_unfinished(config: dict[str, Any]) -> Path | None:
    """Return the folder of the latest unfinished run of the same config, or None.

    The same is what decides the result, and the experiment that the run belongs to.

    Args:
        config: validated; its task and loss may be left to the data.
    """
    for folder in unfinished(Path(config["tracking"]["root"]).absolute()):
        try:
            recorded = read_config(folder)
            if _same(config, recorded):
                return folder
        except DlframeError:  # no config yet, or one of components that are not installed any more
            continue
    return None


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
    recorded = json.loads(path.read_text())["fingerprint"]
    found = parts.splits.summary["fingerprint"]
    if found != recorded:
        raise DataError(
            f"the data has changed since the run (fingerprint {found[:12]}, recorded "
            f"{recorded[:12]}); restore it, or train anew with `dlframe train`"
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
    threads = json.loads(path.read_text()).get("threads")
    return int(threads) if threads else None
