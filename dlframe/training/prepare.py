"""From a validated config to everything a training needs, and back from a recorded folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from dlframe.config.validate import complete, validate
from dlframe.errors import ConfigError, RunNotFoundError, StorageError
from dlframe.interfaces import Batch, Data, Preprocessor, Regularizer, Spec, Task
from dlframe.plugin import registry
from dlframe.tracking.redaction import redacted_values
from dlframe.tracking.whole import write_whole
from dlframe.training.build import (
    build_data,
    build_network,
    build_regularizers,
    build_task,
)
from dlframe.training.checkpoint import BEST, read
from dlframe.training.origin import Origin
from dlframe.training.splits import Splits, load_splits

__all__ = [
    "CHECKPOINT",
    "Parts",
    "Rebuilt",
    "is_trained",
    "load_data",
    "network_weights",
    "prepare",
    "read_config",
    "rebuild",
    "save",
]

CHECKPOINT = Path("checkpoints") / BEST
_CONFIG, _SPEC, _PREPROCESSING = "config.yaml", "spec.json", "preprocessing"


@dataclass(slots=True)
class Parts:
    """What a training is made of.

    Args:
        config: the config, with task and loss decided.
        splits: training, validation and test tensors, preprocessor and spec.
        task: step, prediction and metrics.
        network: built and initialized.
        regularizers: in order.
        origin: where weights come from that it begins with; None where they are drawn.
    """

    config: dict[str, Any]
    splits: Splits
    task: Task
    network: nn.Module
    regularizers: list[Regularizer]
    origin: Origin | None = None


def load_data(config: dict[str, Any]) -> tuple[dict[str, Any], Splits]:
    """Read and split the data; return the config with task and loss decided.

    Raises:
        DataError: the data is missing or does not suit the task.
    """
    data, options = build_data(config)
    task = config["task"]["component"]
    entry = None if task == "auto" else registry().find("task", task)
    splits = load_splits(
        data,
        options,
        entry.component.name if entry else "auto",
        unsupervised=bool(entry and "unsupervised" in entry.component.tags),
    )
    return complete(config, splits.spec.task), splits


def prepare(config: dict[str, Any]) -> Parts:
    """Load the data and build all parts, with the random numbers of ``config["seed"]``.

    Raises:
        DlframeError: something does not fit.
    """
    import lightning as L

    config, splits = load_data(config)
    L.seed_everything(config["seed"] % 2**32, workers=True, verbose=False)
    task = build_task(config, splits.spec)
    task.loss.check(task.targets(Batch(splits.train.x, splits.train.y)))
    regularizers = build_regularizers(config)
    network = build_network(config, splits.spec, task, regularizers)
    if not is_trained(network) and not _is_untrained(config):
        raise ConfigError(
            f"the network of {config['architecture']['component']!r} has nothing to train; "
            "give it parameters, or declare it with the tag 'untrained'"
        )
    return Parts(config, splits, task, network, regularizers)


def is_trained(network: nn.Module) -> bool:
    """Whether the network has a parameter that an optimizer would move."""
    return any(parameter.requires_grad for parameter in network.parameters())


def _is_untrained(config: dict[str, Any]) -> bool:
    """Whether the architecture is meant to have nothing to train, and not frozen by mistake."""
    entry = registry().find("architecture", config["architecture"]["component"])
    return "untrained" in entry.component.tags


def save(folder: Path, parts: Parts) -> None:
    """Write what ``rebuild`` reads, all but the weights."""
    write_config(folder, parts.config)
    write_whole(folder / _SPEC, json.dumps(parts.splits.spec.to_dict(), indent=1))
    parts.splits.preprocessor.save(folder / _PREPROCESSING)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a config as YAML, without secrets."""
    plain = json.loads(json.dumps(redacted_values(config)))  # YAML has no tuples
    write_whole(folder / _CONFIG, yaml.safe_dump(plain, sort_keys=False))


def read_config(folder: Path) -> dict[str, Any]:
    """Read and validate the config recorded in a run's folder.

    Raises:
        RunNotFoundError: the folder holds none.
    """
    path = folder / _CONFIG
    if not path.is_file():
        raise RunNotFoundError(
            f"{str(folder)!r} holds no {_CONFIG}; the run ended before its model was built"
        )
    try:
        found = yaml.safe_load(path.read_text())
        if not isinstance(found, dict):
            raise yaml.YAMLError("it holds no config")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StorageError(
            f"the record {str(path)!r} cannot be read ({' '.join(str(error).split())}); restore it, or "
            "train anew with `dlframe train`"
        ) from error
    return validate(found)


@dataclass(slots=True)
class Rebuilt:
    """A trained network with what is needed to use it."""

    config: dict[str, Any]
    spec: Spec
    task: Task
    network: nn.Module
    data: Data
    preprocessor: Preprocessor


def rebuild(folder: Path) -> Rebuilt:
    """Build the network of a recorded run from the run's own config, with its best weights.

    Raises:
        RunNotFoundError: the folder lacks the config or the weights.
    """
    config = read_config(folder)
    if not (folder / CHECKPOINT).is_file():
        raise RunNotFoundError(
            f"{str(folder)!r} holds no {CHECKPOINT}; the run ended before its first validation, or "
            "with trainer.checkpoint=false"
        )
    spec = Spec.from_dict(json.loads((folder / _SPEC).read_text()))
    task = build_task(config, spec)
    with torch.random.fork_rng(devices=[]):  # loading a model leaves the caller's numbers alone
        network = build_network(config, spec, task, build_regularizers(config))
    load_weights(folder / CHECKPOINT, network)
    data, _ = build_data(config)
    preprocessor = data.preprocessor()
    preprocessor.restore(folder / _PREPROCESSING)
    return Rebuilt(config, spec, task, network.eval(), data, preprocessor)


def load_weights(path: Path, network: nn.Module) -> None:
    """Load a checkpoint's weights into the network.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    network.load_state_dict(network_weights(read(path)))


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network's parameters and buffers, by their names in the network."""
    prefix = "network."
    state = checkpoint["state_dict"]
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
