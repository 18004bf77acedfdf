"""Pruners: what ends a study's trials early. All but one are Optuna's, with options that are checked.

A trial reports its objective after each validation, with the epoch as the step.
"""

from typing import Annotated, Literal

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)

from dlframe.errors import ConfigError
from dlframe.interfaces.options import (
    Ge,
    Gt,
    Le,
    Lt,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Probability,
)
from dlframe.sweep.chosen import built, quietly
from dlframe.sweep.definition import Chosen
from dlframe.sweep.power_law import PowerLaw

__all__ = [
    "asha",
    "hyperband",
    "make_pruner",
    "median",
    "none",
    "patient",
    "percentile",
    "power_law",
    "threshold",
    "wilcoxon",
]


def make_pruner(chosen: Chosen | None, *, max_resource: int) -> BasePruner:
    """Build a pruner.

    Args:
        chosen: which one, with options; None for one that never prunes.
        max_resource: epochs of a trial that is not pruned; up to 1 where that is not known.

    Raises:
        ConfigError: an option does not fit.
    """
    if chosen is None:
        return NopPruner()
    made = built("pruner", chosen, max_resource=max_resource)
    if not isinstance(made, BasePruner):
        raise ConfigError(
            f"pruner {chosen.component!r} must be an optuna.pruners.BasePruner; its target gives a "
            f"{type(made).__name__}"
        )
    return made


def none() -> NopPruner:
    """End no trial early."""
    return NopPruner()


def power_law(
    *,
    max_resource: int,
    n_startup_trials: PositiveInt = 1,
    n_warmup_steps: PositiveInt = 3,
    optimism: Positive = 1.0,
    stall: Annotated[float, Gt(0), Lt(1)] = 0.34,
) -> BasePruner:
    """End a trial that at its present pace will not reach the best value, or that stands still.

    With ``b(t)`` the best value of a trial up to epoch ``t``, its pace is what it gained by the last
    doubling of its epochs, ``p = log b(t / 2) - log b(t)``. It ends at epoch ``t`` of ``T`` where
    ``log b(t) - optimism * p * log2(T / t)`` is above the logarithm of the best trial's value: losses
    fall about as a power of time, so that doublings gain alike. It also ends where it gained nothing
    in the last ``stall * t`` epochs. A trial that is ahead of the best never ends. For an accuracy,
    ``b`` is its distance from 1; values of another kind are taken as they are instead of their
    logarithms. Any number of trials, of which the first completes.

    Args:
        max_resource: epochs of a whole trial.
        n_startup_trials: trials that must have completed before any is ended.
        n_warmup_steps: epochs before a trial is ended.
        optimism: how many times its present pace a trial is trusted with; more ends fewer trials.
        stall: share of its epochs so far in which a trial must have gained something.

    Reference:
        Domhan, Springenberg and Hutter 2015, IJCAI, pages 3460 to 3468, extrapolate learning curves.
    """
    if max_resource <= 1:
        return NopPruner()
    return PowerLaw(
        max_resource,
        n_startup_trials=n_startup_trials,
        n_warmup_steps=n_warmup_steps,
        optimism=optimism,
        stall=stall,
    )


def median(
    *,
    n_startup_trials: NonNegativeInt = 5,
    n_warmup_steps: NonNegativeInt = 0,
    interval_steps: PositiveInt = 1,
    n_min_trials: PositiveInt = 1,
) -> MedianPruner:
    """End a trial whose best value so far is worse than the median of the others' at that epoch.

    Careful, and good with random search; from about 10 trials on.

    Args:
        n_startup_trials: finished trials before any is ended.
        n_warmup_steps: epochs before a trial is ended.
        interval_steps: epochs from one look at a trial to the next.
        n_min_trials: trials that must have a value at an epoch before others are ended there.

    Reference:
        Golovin et al. 2017, doi:10.1145/3097983.3098043.
    """
    return MedianPruner(n_startup_trials, n_warmup_steps, interval_steps, n_min_trials=n_min_trials)


def percentile(
    *,
    percentile: Annotated[float, Ge(0), Le(100)] = 25.0,
    n_startup_trials: NonNegativeInt = 5,
    n_warmup_steps: NonNegativeInt = 0,
    interval_steps: PositiveInt = 1,
    n_min_trials: PositiveInt = 1,
) -> PercentilePruner:
    """End a trial whose best value so far is not among the best share at that epoch.

    From about 10 trials on.

    Args:
        percentile: the share that goes on, in percent.
        n_startup_trials: finished trials before any is ended.
        n_warmup_steps: epochs before a trial is ended.
        interval_steps: epochs from one look at a trial to the next.
        n_min_trials: trials that must have a value at an epoch before others are ended there.

    Reference:
        Golovin et al. 2017, doi:10.1145/3097983.3098043.
    """
    return PercentilePruner(
        percentile, n_startup_trials, n_warmup_steps, interval_steps, n_min_trials=n_min_trials
    )


def asha(
    *,
    max_resource: int,
    min_resource: PositiveInt | Literal["auto"] = "auto",
    reduction_factor: Annotated[int, Ge(2)] = 4,
    min_early_stopping_rate: NonNegativeInt = 0,
    bootstrap_count: NonNegativeInt = 0,
) -> SuccessiveHalvingPruner:
    """Asynchronous successive halving: at each rung the best share of the trials goes on.

    Rungs are at ``min_resource * reduction_factor**k`` epochs. Made for many workers and 30 trials or
    more; good with TPE.

    Args:
        max_resource: epochs of a whole trial.
        min_resource: epochs before the first rung; ``auto`` is a hundredth of a trial, at least 1.
        reduction_factor: of so many trials at a rung one goes on.
        min_early_stopping_rate: rungs to leave out at the beginning.
        bootstrap_count: trials that must have come to a rung before any goes on.

    Reference:
        Li et al. 2018, arXiv:1810.05934.
    """
    if min_resource == "auto" and max_resource > 1:
        min_resource = max(1, max_resource // 100)
    return SuccessiveHalvingPruner(
        min_resource, reduction_factor, min_early_stopping_rate, bootstrap_count
    )


def hyperband(
    *,
    max_resource: int,
    min_resource: PositiveInt = 1,
    reduction_factor: Annotated[int, Ge(2)] = 3,
    bootstrap_count: NonNegativeInt = 0,
) -> HyperbandPruner:
    """Hyperband: several successive halvings side by side, some of which let trials run for longer.

    For curves that cross, where the first epochs say little. Each of the halvings needs its own trials:
    50 or more in all, and more with TPE, which begins with 10 random ones in each.

    Args:
        max_resource: epochs of a whole trial.
        min_resource: epochs before the first rung.
        reduction_factor: of so many trials at a rung one goes on.
        bootstrap_count: trials that must have come to a rung before any goes on.

    Reference:
        Li et al. 2018, JMLR 18, arXiv:1603.06560.
    """
    if 1 < max_resource < min_resource:
        raise ConfigError(
            f"hydra.sweeper.pruner.min_resource must be at most the epochs of a trial, {max_resource}; "
            f"got {min_resource}"
        )
    return HyperbandPruner(
        min_resource,
        max_resource if max_resource > 1 else "auto",
        reduction_factor,
        bootstrap_count,
    )


def threshold(
    *,
    lower: float | None = None,
    upper: float | None = None,
    n_warmup_steps: NonNegativeInt = 0,
    interval_steps: PositiveInt = 1,
) -> ThresholdPruner:
    """End a trial whose value leaves given bounds, or is NaN. Any number of trials.

    Args:
        lower: smallest value that may go on.
        upper: largest value that may go on.
        n_warmup_steps: epochs before a trial is ended.
        interval_steps: epochs from one look at a trial to the next.
    """
    if lower is None and upper is None:
        raise ConfigError(
            "the pruner threshold needs a bound; set hydra.sweeper.pruner.lower=<float> or "
            "hydra.sweeper.pruner.upper=<float>"
        )
    if lower is not None and upper is not None and lower > upper:
        raise ConfigError(
            f"hydra.sweeper.pruner.lower must be at most upper; got {lower} and {upper}"
        )
    return ThresholdPruner(lower, upper, n_warmup_steps, interval_steps)


def patient(
    *,
    max_resource: int,
    patience: PositiveInt = 3,
    min_delta: NonNegative = 0.0,
    inner: str = "median",
) -> PatientPruner:
    """Let another pruner end a trial only when the trial has not improved for some epochs.

    For objectives that go up and down; as many trials as the other pruner needs.

    Args:
        max_resource: epochs of a whole trial.
        patience: epochs without a better value that are forgiven.
        min_delta: a smaller improvement counts as none.
        inner: the other pruner, with its default options; ``none`` ends the trial without asking one.
    """
    if inner.rpartition("/")[2] == "patient":
        raise ConfigError(
            "hydra.sweeper.pruner.inner must be another pruner than patient; such as median"
        )
    wrapped = None
    if inner != "none":
        wrapped = make_pruner(Chosen(inner), max_resource=max_resource)
    with quietly():
        return PatientPruner(wrapped, patience, min_delta)


def wilcoxon(
    *, p_threshold: Probability = 0.1, n_startup_steps: NonNegativeInt = 2
) -> WilcoxonPruner:
    """End a trial that a signed-rank test finds worse than the best one, step by step.

    Made for steps that are equal in kind, such as folds or instances; with epochs it compares whole
    curves. Any number of trials.

    Args:
        p_threshold: how sure the test must be; larger ends more trials.
        n_startup_steps: epochs before a trial is ended.

    Reference:
        Wilcoxon 1945, doi:10.2307/3001968.
    """
    with quietly():
        return WilcoxonPruner(p_threshold=p_threshold, n_startup_steps=n_startup_steps)
