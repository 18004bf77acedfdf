"""Parts of a network that are not trained, for the whole training or for its first epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
from torch import nn

from dlframe.errors import ConfigError
from dlframe.training.named import find_parts, inside

__all__ = ["Freezing", "freezing_of"]

_NEVER = math.inf  # the epoch from which on a part is trained that stays frozen
_ALL = math.inf  # an epoch that trains everything


class Freezing(L.Callback):
    """Keeps parts of a network as they are, and has them trained from given epochs on.

    What is frozen depends on the number of the epoch alone, so that a training that goes on has nothing
    to remember. The optimizer has all parameters from the beginning; those that are frozen have no
    gradient, and it passes them over, weight decay included. Modules in a frozen part are in evaluation
    mode: batch normalization keeps its statistics, dropout does nothing.

    Gradual unfreezing: Howard and Ruder 2018, arXiv:1801.06146.

    Args:
        network: the network.
        players: the parts that are trained apart, by name.
        freeze: names of parts, or patterns.
        unfreeze: after how many epochs a part is trained; it may lie in a frozen one, or hold some.
        unfreeze_every: after each so many epochs the last part that is still frozen is trained.

    Raises:
        ConfigError: a name names nothing, or nothing is left to train.
    """

    def __init__(
        self,
        network: nn.Module,
        players: Mapping[str, nn.Module],
        *,
        freeze: Sequence[str],
        unfreeze: Mapping[str, int] | None = None,
        unfreeze_every: int | None = None,
    ) -> None:
        self._network = network
        self._from = _plan(list(network.state_dict()), freeze, unfreeze or {}, unfreeze_every)
        # A parameter that has several names is frozen under any of them.
        epochs: dict[nn.Parameter, float] = {}
        for name, parameter in network.named_parameters(remove_duplicate=False):
            if parameter.requires_grad:
                epochs[parameter] = max(epochs.get(parameter, 0), self._begins(name))
        self._parameters = epochs
        self._modules = {
            module: self._begins(name)
            for name, module in network.named_modules()
            if self._begins(name) > 0
        }
        for name, player in players.items():
            if all(epochs.get(parameter, _NEVER) > 0 for parameter in player.parameters()):
                where = f" in the {name}" if len(players) > 1 else ""
                raise ConfigError(
                    f"trainer.freeze={list(freeze)} leaves nothing to train{where} in the first epoch; "
                    "leave one of the parts out"
                )

    def apply(self, epoch: float) -> None:
        """Freeze what is not to be trained in an epoch, numbered from 0, and nothing else."""
        for parameter, begins in self._parameters.items():
            parameter.requires_grad_(begins <= epoch)
            if begins > epoch:
                parameter.grad = None
        for module, begins in self._modules.items():
            module.training = begins <= epoch

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Show optimizer, and what adds up gradients over processes, all that will be trained."""
        if stage == "fit":
            self.apply(_ALL)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Freeze what this epoch does not train."""
        self.apply(trainer.current_epoch)

    def _begins(self, name: str) -> float:
        """Return the number of the epoch, from 0, that first trains a parameter or module."""
        around = [part for part in self._from if inside(part, name)]
        return self._from[max(around, key=len)] if around else 0


def freezing_of(
    options: Mapping[str, Any], network: nn.Module, players: Mapping[str, nn.Module]
) -> Freezing | None:
    """Return what the trainer's options ask for; None where that is nothing.

    Raises:
        ConfigError: the options do not go together, or do not fit the network.
    """
    gradual = [name for name in ("unfreeze", "unfreeze_every") if options[name]]
    if not options["freeze"]:
        if gradual:
            raise ConfigError(
                f"trainer.{gradual[0]} says when frozen parts are trained, and none are "
                "frozen; name them with trainer.freeze"
            )
        return None
    if len(gradual) > 1:
        raise ConfigError(
            "trainer.unfreeze and trainer.unfreeze_every both say when frozen parts are trained; set "
            "one of them"
        )
    return Freezing(
        network,
        players,
        freeze=options["freeze"],
        unfreeze=dict(map(_part_and_epoch, options["unfreeze"])),
        unfreeze_every=options["unfreeze_every"],
    )


def _part_and_epoch(word: str) -> tuple[str, int]:
    part, _, epoch = word.rpartition(":")
    if not part or not epoch.isdecimal() or int(epoch) < 1:
        raise ConfigError(
            "trainer.unfreeze takes part:epochs with one epoch or more, as in [features:3]; got "
            f"{word!r}"
        )
    return part, int(epoch)


def _plan(
    tensors: Sequence[str],
    freeze: Sequence[str],
    unfreeze: Mapping[str, int],
    every: int | None,
) -> dict[str, float]:
    """Return from which epoch on each part is trained."""
    frozen = list(find_parts("trainer.freeze", freeze, tensors))
    plan: dict[str, float] = dict.fromkeys(frozen, _NEVER)
    if every is not None:
        plan = {part: every * (len(frozen) - number) for number, part in enumerate(frozen)}
    for word, epoch in unfreeze.items():
        for part in find_parts("trainer.unfreeze", [word], tensors):
            held = [each for each in frozen if inside(part, each)]
            if not held and not any(inside(each, part) for each in frozen):
                raise ConfigError(
                    f"trainer.unfreeze names {part!r}, which is not frozen; the frozen parts are "
                    f"{', '.join(frozen)}"
                )
            plan |= dict.fromkeys(held or [part], epoch)
    return plan
