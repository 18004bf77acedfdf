"""The state of a training: what a checkpoint holds besides weights, optimizers and schedules.

Where training stands is kept here alone, at the end of a call of several steps: Lightning's loops count
calls, and how many steps a call has depends on how fast the machine was.
"""

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dlframe.errors import CheckpointError

if TYPE_CHECKING:
    from dlframe.training.module import TrainingModule

__all__ = ["KEY", "keep", "random_state", "restore", "set_random_state"]

KEY = "dlframe"
"""Under which a checkpoint holds this state."""


def keep(module: "TrainingModule", checkpoint: dict[str, Any]) -> None:
    """Add the state of the training to a checkpoint; all processes take part."""
    own = {
        "random": random_state(),
        "sums": module.sums.state_dict(),
        "buffers": dict(module.network.named_buffers()) if module.distributed else {},
    }
    everyone: list[Any] = [own]
    if module.distributed:
        everyone = [None] * module.trainer.world_size
        torch.distributed.all_gather_object(everyone, own)
    del checkpoint["loops"]
    checkpoint[KEY] = {
        "position": module.position,
        "steps": module.steps,
        "seconds": module.seconds,
        "lightning_steps": module.trainer.global_step,
        "stopping": module.trainer.should_stop,
        "history": module.history,
        "layers": module.layers.state_dict() if module.layers is not None else None,
        "regularizers": [regularizer.state_dict() for regularizer in module.regularizers],
        "processes": everyone,
    }


def restore(module: "TrainingModule", checkpoint: dict[str, Any]) -> None:
    """Go on where the checkpoint was written.

    Raises:
        CheckpointError: another number of processes trained until then.
    """
    state, trainer = checkpoint[KEY], module.trainer
    if len(state["processes"]) != trainer.world_size:
        raise CheckpointError(
            f"the training to resume had {len(state['processes'])} processes; got "
            f"{trainer.world_size}; resume it where as many devices are"
        )
    module.steps, module.history = state["steps"], list(state["history"])
    module.seconds_before = state["seconds"]
    if module.layers is not None and state["layers"] is not None:
        module.layers.load_state_dict(state["layers"])
    for regularizer, values in zip(module.regularizers, state["regularizers"], strict=True):
        regularizer.load_state_dict(values)
    module.resumed = own = state["processes"][trainer.global_rank]
    for name, buffer in own["buffers"].items():
        checkpoint["state_dict"][f"network.{name}"] = buffer
    epoch, start = module.position = state["position"]
    module.loader.epoch, module.loader.start = epoch, start
    for name in ("ready", "started", "processed", "completed"):
        setattr(trainer.fit_loop.epoch_progress.current, name, epoch)
    counted = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
    counted.ready = counted.completed = state["lightning_steps"]
    trainer.should_stop = state["stopping"]


def random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators, on all devices in use."""
    name, keys, *rest = np.random.get_state(legacy=True)
    assert name == "MT19937"
    return {
        "python": random.getstate(),
        "numpy": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all generators into the states that ``random_state`` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    for device, held in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(held.cpu(), device)
