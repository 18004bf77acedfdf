"""The learning-rate range test: how the loss moves while the learning rate grows."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from dlframe.errors import ConfigError, TrainingDivergedError
from dlframe.training.fit import Fit
from dlframe.training.module import TrainingModule
from dlframe.training.prepare import prepare
from dlframe.training.transfer import begin_with, pin
from dlframe.training.trial_steps import for_trial, undisturbed

__all__ = ["RangeTest", "range_test", "steepest"]

_SMOOTHING = 0.03
"""Standard deviation of the Gaussian that smooths the losses, as a share of all steps."""
_FORGETTING = 0.9
"""Share of the old mean in the running mean that is watched for divergence."""
_DIVERGED = 3.0
"""The test ends when the running mean is so many times its fall, or its size, above its lowest."""
_CLEAR = 2.0
"""Standard deviations of the losses about the smoothed ones that count as a fall."""
_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """What came out.

    Args:
        rates: learning rate of each step.
        losses: training loss of each step.
        smoothed: the same, smoothed by a Gaussian along the steps.
        suggestion: the learning rate at which the smoothed loss falls fastest.
        lowest: the learning rate at which it is lowest.
        diverged: whether the test ended early, at a loss that grew out of bounds.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float
    lowest: float
    diverged: bool

    def save(self, folder: Path) -> list[Path]:
        """Write ``find_lr.json`` and ``find_lr.png``; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "find_lr.json", folder / "find_lr.png"]
        names = ("suggestion", "lowest", "diverged", "rates", "losses", "smoothed")
        facts = {name: getattr(self, name) for name in names}
        paths[0].write_text(json.dumps(facts, indent=1), encoding="utf-8")
        self.figure().savefig(paths[1], dpi=120, bbox_inches="tight")
        return paths

    def figure(self) -> Figure:
        """Draw the losses over the learning rate, with the suggestion marked."""
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="tab:blue", alpha=0.3, linewidth=1, label="loss")
        axes.plot(self.rates, self.smoothed, color="tab:blue", label="smoothed")
        at = self.rates.index(self.suggestion)
        axes.plot(self.suggestion, self.smoothed[at], "o", color="tab:red",
                  label=f"steepest: {self.suggestion:.2g}")  # fmt: skip
        low, high = min(self.smoothed), max(self.smoothed[: at + 1])
        axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
        axes.set(xlabel="learning rate", ylabel="training loss", xscale="log")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        return figure


def range_test(
    config: Mapping[str, Any], *, lowest: float = 1e-7, highest: float = 10.0, steps: int = 200
) -> RangeTest:
    """Train some steps with a learning rate that grows exponentially from ``lowest`` to ``highest``.

    ``lr_i = lowest * (highest / lowest) ** (i / (steps - 1))`` in step ``i`` of mini-batches as in the
    training; what the training's schedule, early stopping and averages of weights would do is left
    out. The network is one of its own, and random numbers are what they were.

    Args:
        config: validated.
        lowest: learning rate of the first step.
        highest: learning rate of the last step.
        steps: optimizer steps at most.

    Raises:
        ConfigError: the training cannot be tested so, or its loss falls nowhere.

    Reference:
        Smith 2015, arXiv:1506.01186.
    """
    if not 0 < lowest < highest or steps < _FEWEST:
        raise ConfigError(
            f"a range test goes from a small learning rate to a larger one in {_FEWEST} steps or more; "
            f"got {lowest:g} to {highest:g} in {steps}"
        )
    if "lr" not in config["optimizer"]:
        raise ConfigError(f"{config['optimizer']['component']} has no option lr to find")
    with undisturbed():
        trial = for_trial(config, max_steps=steps)
        pin(trial)
        parts = prepare(trial)
        if len(parts.task.players(parts.network)) > 1:
            raise ConfigError(
                "a range test needs one loss that falls, and the networks of task="
                f"{parts.splits.spec.task} have one each; try a few values of optimizer.lr instead"
            )
        begin_with(parts)
        # Those with callbacks follow the validation or average weights: the loss knows nothing of it.
        kept = [each for each in parts.regularizers if not each.callbacks()]
        growing = _Growing(lambda i: lowest * (highest / lowest) ** (i / (steps - 1)))
        fit = Fit(replace(parts, regularizers=kept), Path(), _forget, callbacks=(growing,))
        with suppress(TrainingDivergedError):
            fit.fit()
    smoothed, best, low = steepest(growing.rates, growing.losses, steps)
    return RangeTest(
        rates=growing.rates,
        losses=growing.losses,
        smoothed=smoothed,
        suggestion=growing.rates[best],
        lowest=growing.rates[low],
        diverged=len(growing.losses) < steps,
    )


def steepest(
    rates: Sequence[float], losses: Sequence[float], steps: int
) -> tuple[list[float], int, int]:
    """Return smoothed losses, where they fall fastest over the rate's logarithm, and are least.

    Only what comes before the lowest loss counts.

    Args:
        rates: learning rate of each step done.
        losses: loss of each, all finite.
        steps: that were to be done, to which the smoothing relates.

    Raises:
        ConfigError: the loss falls nowhere.
    """
    low = 0
    if len(losses) >= _FEWEST:
        smoothed = gaussian_filter1d(np.asarray(losses), _SMOOTHING * steps, mode="nearest")
        low = int(smoothed.argmin())
        slope = np.gradient(smoothed, np.log10(rates))
        noise = float(np.std(losses[: low + 1] - smoothed[: low + 1]))
        low = low if smoothed[0] - smoothed[low] > _CLEAR * noise else 0
    if low == 0:
        raise ConfigError(
            f"the loss falls at no learning rate from {rates[0]:g} on; begin with a smaller one "
            "(--from), or see with `dlframe train debug=overfit` whether the network learns at all"
        )
    return [float(each) for each in smoothed], int(slope[: low + 1].argmin()), low


def _forget(values: dict[str, float], step: int) -> None:
    """Record nothing."""


class _Growing(L.Callback):
    """Sets the learning rate before each step, and notes the loss after it."""

    def __init__(self, rate: Callable[[int], float]) -> None:
        self._rate = rate
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._before = (0.0, 0)
        self._mean, self._lowest = 0.0, float("inf")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.accumulating:
            return
        self._before = pl_module.sums.total("loss"), pl_module.sums.rows
        rate = self._rate(len(self.rates))
        for optimizer in trainer.optimizers:
            first = optimizer.param_groups[0]["lr"]
            for group in optimizer.param_groups:  # groups keep their proportions
                group["lr"] = group["lr"] * rate / first

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.accumulating:
            return
        total, rows = self._before
        loss = (pl_module.sums.total("loss") - total) / (pl_module.sums.rows - rows)
        self.rates.append(self._rate(len(self.rates)))
        self.losses.append(loss)
        self._mean = _FORGETTING * self._mean + (1 - _FORGETTING) * loss
        mean = self._mean / (1 - _FORGETTING ** len(self.losses))
        self._lowest = min(self._lowest, mean)
        fall = max(abs(self._lowest), self.losses[0] - self._lowest)
        if mean > self._lowest + _DIVERGED * fall:
            trainer.should_stop = True
