"""A recorded run's model on the data of its own config."""

import json
from pathlib import Path

from dlframe.errors import DataError
from dlframe.training.fit import Fit
from dlframe.training.prepare import Parts, load_data, rebuild

__all__ = ["evaluate"]


def evaluate(folder: Path) -> dict[str, float]:
    """Return the test metrics of a run's best weights.

    Model, data, splits and preprocessing come from what the run recorded.

    Raises:
        DataError: the data is not what the run was trained on any more.
        RunNotFoundError: the folder lacks the config or the weights.
    """
    rebuilt = rebuild(folder)
    config, splits = load_data(rebuilt.config)
    recorded = json.loads((folder / "splits.json").read_text())["fingerprint"]
    if splits.summary["fingerprint"] != recorded:
        raise DataError(
            f"the data has changed since the run (fingerprint {splits.summary['fingerprint'][:12]}, "
            f"recorded {recorded[:12]}); restore it, or use `dlframe predict` on the new rows"
        )
    config["trainer"] |= {"accelerator": "auto", "devices": 1, "strategy": "auto"}
    config["trainer"] |= {"checkpoint": False}
    config["trainer"] |= {"compile": False, "profiler": None, "progress": "off"}
    parts = Parts(config, splits, rebuilt.task, rebuilt.network, regularizers=[])
    return Fit(parts, folder, log=lambda values, step: None).test()
