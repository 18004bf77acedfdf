"""Averages of the weights along the training."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Lt, PositiveInt, Range
from dlframe.interfaces.regularizer import Regularizer

__all__ = ["WeightAveraging"]

_TRAINED = "trained_weights"


class WeightAveraging(Regularizer):
    """Validate with and keep an average of the weights, while the optimizer moves the weights on.

    ``ema`` is a moving average, ``a = d a + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))``
    at the ``n``-th update, so that the first weights are soon forgotten. ``swa`` is the plain mean,
    ``a = (n a + w) / (n + 1)``, of the weights from ``start`` on; it gains from a learning rate
    that stays high. The average is what validation sees, what checkpoints hold and what remains
    when the training ends.

    Only parameters are averaged. Buffers stay those of the moving weights: the running statistics
    of batch normalization fit an ``ema`` closely, but not an ``swa`` over distant weights, for
    which networks with group or layer normalization are the better choice.

    Args:
        method: moving average (``ema``) or plain mean (``swa``).
        decay: largest share of the old average that an update of ``ema`` keeps; 0 follows the
            weights.
        start: share of ``trainer.max_epochs`` after which the averaging begins.
        every: optimizer steps from one update to the next.

    Reference:
        EMA: Polyak and Juditsky 1992, doi:10.1137/0330046; SWA: Izmailov et al. 2018,
        arXiv:1803.05407.
    """

    def __init__(
        self,
        *,
        method: Literal["ema", "swa"] = "ema",
        decay: Annotated[float, Ge(0), Lt(1), Range(0.9, 0.9999)] = 0.999,
        start: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.9)] = 0.0,
        every: PositiveInt = 1,
    ) -> None:
        self.method = method
        self.decay = decay
        self.start = start
        self.every = every
        self.begun = start == 0
        self.average: list[Tensor] = []
        self._steps = 0
        self._updates = 0

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Take the network's weights into the average, every so many steps."""
        if not self.begun:
            return
        self._steps += 1
        if self._steps % self.every:
            return
        weights: list[Tensor] = list(model.parameters())
        if not self.average:
            self.average = [weight.clone() for weight in weights]
        else:
            # A loaded state may lie on another device than the network.
            self.average = [a.to(w.device) for a, w in zip(self.average, weights, strict=True)]
            if self.method == "swa":
                update = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
            else:
                share = (1 + self._updates) / (10 + self._updates)
                update = get_ema_multi_avg_fn(  # type: ignore[no-untyped-call]
                    min(self.decay, share)
                )
            update(self.average, weights, self._updates)
        self._updates += 1

    def callbacks(self) -> Sequence[Any]:
        """Return the callback that exchanges the weights around validations and in checkpoints."""
        return (_Exchange(self),)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, in the order of the network's parameters, and the counts."""
        return {"average": self.average, "steps": self._steps, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the average and the counts."""
        self.average = [a.clone() for a in state["average"]]
        self._steps, self._updates = state["steps"], state["updates"]


class _Exchange(lightning.Callback):
    """Puts the average into the network for validation, and the trained weights back for training.

    Checkpoints hold the average as the network's weights, and the trained ones beside it, from
    which training resumes.
    """

    def __init__(self, averaging: WeightAveraging) -> None:
        self.averaging = averaging
        self.trained: list[Tensor] = []  # not empty while the network holds the average

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self.averaging.start and (trainer.max_epochs is None or trainer.max_epochs < 0):
            raise ConfigError(
                "regularizer.weight_averaging.start is a share of trainer.max_epochs, but that is "
                "not set; set trainer.max_epochs, or start to 0"
            )
        self._put_trained(pl_module)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._begin(trainer)  # a training resumed within an epoch does not start that epoch again

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._begin(trainer)

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._put_average(pl_module)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._put_trained(pl_module)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._put_average(pl_module)

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        if not self.averaging.average:
            return
        weights = _weights(pl_module)
        position = {id(weight): i for i, weight in enumerate(weights)}
        average = self.averaging.average
        for name, weight in pl_module.named_parameters(remove_duplicate=False):
            if id(weight) in position:  # all of the network's, tied ones under each of their names
                checkpoint["state_dict"][name] = average[position[id(weight)]]
        checkpoint[_TRAINED] = self.trained or [weight.detach() for weight in weights]

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING and _TRAINED in checkpoint:
            self.trained = checkpoint[_TRAINED]
            self._put_trained(pl_module)

    def _begin(self, trainer: lightning.Trainer) -> None:
        first = self.averaging.start * (trainer.max_epochs or 0)
        self.averaging.begun = self.averaging.start == 0 or trainer.current_epoch >= first

    def _put_average(self, pl_module: lightning.LightningModule) -> None:
        if self.averaging.average and not self.trained:
            weights = _weights(pl_module)
            self.trained = [weight.detach().clone() for weight in weights]
            _copy(self.averaging.average, weights)

    def _put_trained(self, pl_module: lightning.LightningModule) -> None:
        if self.trained:
            _copy(self.trained, _weights(pl_module))
            self.trained = []


def _weights(pl_module: lightning.LightningModule) -> list[nn.Parameter]:
    network = pl_module.network
    assert isinstance(network, nn.Module)
    return list(network.parameters())


@torch.no_grad()
def _copy(source: list[Tensor], target: list[nn.Parameter]) -> None:
    for a, b in zip(source, target, strict=True):
        b.copy_(a)
