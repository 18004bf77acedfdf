"""Which runs belong together: those that differ in seed or fold alone, or not in given keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlframe.analysis.independent import FOLD, FOLDS, HOW, SEED, SPLIT_SEED
from dlframe.analysis.runs import RunData
from dlframe.errors import ConfigError, did_you_mean

__all__ = ["ABSENT", "SEED", "Group", "Grouping", "group_runs"]

ABSENT = "none"
"""What stands for a key that a run does not have, such as the options of another optimizer."""


@dataclass(frozen=True)
class Group:
    """Runs that have the same values of the grouping keys.

    Args:
        label: the keys with their values, as shown.
        values: the values by key.
        runs: the runs, oldest first.
    """

    label: str
    values: Mapping[str, str]
    runs: Sequence[RunData]


@dataclass(frozen=True)
class Grouping:
    """Runs by group.

    Args:
        by: the keys that tell the groups apart.
        groups: in the order of their values.
        implied: keys that only follow a component that is one of ``by``, such as its options.
        within: further keys that vary; with seed and fold they tell the runs of a group apart.
        folds: the folds that repeat a training; none where runs are not averaged over folds.
    """

    by: Sequence[str]
    groups: Sequence[Group]
    implied: Sequence[str]
    within: Sequence[str]
    folds: frozenset[str] = frozenset()

    def partner(self, run: RunData) -> tuple[str, ...]:
        """Return what a run must share with its partner in another group: seed, fold, and the like."""
        return tuple(run.params.get(key, ABSENT) for key in self.pairing)

    @property
    def pairing(self) -> Sequence[str]:
        """The keys that runs are paired by."""
        repeated = (SEED, FOLD) if self.folds else (SEED,)
        return [key for key in (*repeated, *self.within) if key not in self.by]


def group_runs(runs: Sequence[RunData], by: Sequence[str] | None = None) -> Grouping:
    """Group runs by their config.

    Args:
        runs: the runs; their order does not matter.
        by: config keys such as ``optimizer.lr``; None takes all that vary, but for the seed, the
            fold with the seed of its split, and what says only how to compute, unless nothing else
            varies.

    Raises:
        ConfigError: no run has a key of that name.
    """
    runs = sorted(runs, key=lambda run: run.id)
    known = list(dict.fromkeys(key for run in runs for key in run.params))
    for key in by or ():
        if key not in known:
            raise ConfigError(
                f"no run has a config key {key!r} to group by; {did_you_mean(key, known)}keys that "
                f"vary are {', '.join(_varying(runs, known)) or 'none'}"
            )
    varying = _varying(runs, known)
    decisive = [key for key in varying if key not in HOW]
    # Where nothing else varies, how to compute is what somebody wants to compare.
    varying = decisive if {*decisive, *(by or ())} - {SEED, FOLD} else varying
    implied = [key for key in varying if _implied(key, runs, varying)]
    told = [key for key in varying if key not in implied]
    folds = frozenset() if FOLD in (by or ()) else _folds(runs)
    repeated = {SEED, *((FOLD, SPLIT_SEED) if folds else ())}
    keys = list(dict.fromkeys(by)) if by is not None else [k for k in told if k not in repeated]
    members: dict[tuple[str, ...], list[RunData]] = {}
    for run in runs:
        members.setdefault(tuple(run.params.get(key, ABSENT) for key in keys), []).append(run)
    groups = [
        Group(_label(keys, values), dict(zip(keys, values, strict=True)), members[values])
        for values in sorted(members, key=lambda values: [_order(value) for value in values])
    ]
    within = [key for key in told if key not in (*keys, SEED, *([FOLD] if folds else []))]
    return Grouping(keys, groups, [key for key in implied if key not in keys], within, folds)


def _folds(runs: Sequence[RunData]) -> frozenset[str]:
    """Return the folds that there are; none where all runs have the same, which is one split then."""
    found = {run.params[FOLD] for run in runs if run.params.get(FOLDS, "").isdigit()}
    found = {fold for fold in found if fold.isdigit()}
    return frozenset(found) if len(found) > 1 else frozenset()


def _varying(runs: Sequence[RunData], known: Sequence[str]) -> list[str]:
    return [key for key in known if len({run.params.get(key) for run in runs}) > 1]


def _implied(key: str, runs: Sequence[RunData], varying: Sequence[str]) -> bool:
    """Whether an option has one value for each choice of the component that it belongs to."""
    owner = key.rpartition(".")[0]
    if owner not in varying:
        return False
    seen: dict[str | None, str | None] = {}
    return all(
        seen.setdefault(run.params.get(owner), run.params.get(key)) == run.params.get(key)
        for run in runs
    )


def _label(keys: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{k}={v}" for k, v in zip(keys, values, strict=True)) or "all runs"


def _order(value: str) -> tuple[int, float, str]:
    """Sort numbers by size, before words."""
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
