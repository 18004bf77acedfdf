"""Samplers that try every combination once: grid search, and the same for conditional spaces."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna import Study
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler
from optuna.trial import FrozenTrial, TrialState

from dlframe.plugin import BUILTIN, registry
from dlframe.sweep.chosen import quietly
from dlframe.sweep.definition import Chosen, Parameter
from dlframe.sweep.space import combinations, overrides_of
from dlframe.sweep.space import grid as all_values
from dlframe.sweep.space_trials import is_whole

__all__ = ["brute_force", "ends_by_itself", "grid", "has_tried_all"]

Space = Sequence[Parameter]


def grid(*, space: Space) -> BaseSampler:
    """Every combination once, in mixed order; the study ends when all are tried.

    For choices and ranges with a step, and as many trials as there are combinations. The order is the
    same whatever the seed, so that several workers, and a command that goes on, share it. Where options
    depend on choices, what a choice rules out is not combined with it.
    """
    values = all_values(space)
    if any(key in {p.key for p in space} for p in space for key, _ in p.when):
        return brute_force(seed=0, space=space)
    return _Grid(space, values)


def brute_force(
    *, seed: int | None, space: Space, avoid_premature_stop: bool = False
) -> BruteForceSampler:
    """Every combination once, drawn from those that are left; the study ends when all are tried.

    For choices and ranges with a step, and as many trials as there are combinations. Where options
    depend on choices, what a choice rules out is not combined with it.

    Args:
        seed: of its draws.
        space: what is searched.
        avoid_premature_stop: try again what may have been missed, even if that tries some twice.
    """
    all_values(space)
    with quietly():
        return _BruteForce(space, seed, avoid_premature_stop)


def ends_by_itself(chosen: Chosen) -> bool:
    """Whether a sampler tries every combination once, after which there is nothing to propose."""
    return registry().find("sampler", chosen.component).id in _EXHAUSTIVE


def has_tried_all(chosen: Chosen, space: Space, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a sampler that tries every combination once has nothing left to propose.

    Args:
        chosen: the sampler; others than ``grid`` and ``brute_force`` always have.
        space: what is searched.
        trials: those that count, running ones included.
    """
    return ends_by_itself(chosen) and _covers(trials, space)


_EXHAUSTIVE = (f"{BUILTIN}/grid", f"{BUILTIN}/brute_force")


class _Grid(GridSampler):
    def __init__(self, space: Space, values: dict[str, list[Any]]) -> None:
        super().__init__(values, seed=0)
        self._space = tuple(space)

    def is_exhausted(self, study: Study) -> bool:
        """Whether all points are tried, those that a user gave included."""
        return _covers(study.get_trials(deepcopy=False), self._space)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the loop at the end of the grid, if there is a loop."""
        if "grid_id" in trial.system_attrs:  # a given point has none, which Optuna does not expect
            with _without_a_loop():
                super().after_trial(study, trial, state, values)


class _BruteForce(BruteForceSampler):
    def __init__(self, space: Space, seed: int | None, avoid_premature_stop: bool) -> None:
        super().__init__(seed=seed, avoid_premature_stop=avoid_premature_stop)
        self._space = tuple(space)

    def is_exhausted(self, study: Study) -> bool:
        """Whether all points are tried."""
        return _covers(study.get_trials(deepcopy=False), self._space)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the loop when all is tried, if there is a loop."""
        with _without_a_loop():
            super().after_trial(study, trial, state, values)


@contextmanager
def _without_a_loop() -> Iterator[None]:
    """Let ``Study.stop`` be called where nothing is to be stopped: trials are asked for one by one."""
    try:
        yield
    except RuntimeError as error:
        if "Study.stop" not in str(error):
            raise


def _covers(trials: Sequence[FrozenTrial], space: Space) -> bool:
    """Whether so many different points have all their values as there are in the space."""
    points = combinations(space)
    if points is None or len(trials) < points:
        return False
    found = {tuple(overrides_of(t.params, space)) for t in trials if is_whole(t.params, space)}
    return len(found) >= points
