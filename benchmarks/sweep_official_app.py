"""What hydra-optuna-sweeper is asked to search: run in an environment of its own, without dlframe."""

import time
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store("app", {"activation": "relu", "lr": 0.01, "seconds": 0.0})


@hydra.main(version_base="1.3", config_path=None, config_name="app")
def main(config: Any) -> float:
    """Do nothing for so many seconds; return a value of the config."""
    time.sleep(config.seconds)
    return float((config.lr - 0.01) ** 2)


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print("seconds", time.perf_counter() - began)
