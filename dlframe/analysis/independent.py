"""Which runs are results of their own: one config and seed that was trained twice is one result."""

from collections.abc import Collection, Sequence

from dlframe.analysis.runs import RunData
from dlframe.config.settings import INDIFFERENT

__all__ = ["FOLD", "FOLDS", "HOW", "SEED", "SPLIT_SEED", "independent"]

SEED = "seed"
FOLD, FOLDS, SPLIT_SEED = "data.fold", "data.folds", "data.split_seed"
"""Which fold a run is, of how many, and what else decides how they are cut."""
HOW = frozenset(f"trainer.{name}" for name in (*INDIFFERENT, "threads"))
"""Options that say only how to compute: runs that differ in these alone are repetitions. The number
of threads may change the last bits, and a replay sets it where the first run left it to torch."""
_REPLAY_OF = "dlframe.replay_of"


def independent(
    runs: Sequence[RunData], *, named: Collection[str] = (), by: Collection[str] | None = None
) -> tuple[list[RunData], list[str]]:
    """Leave out runs that repeat others, since a number that is counted twice feigns certainty.

    Replays of runs that are there are left out. Of finished runs with one config and seed the newest
    stays: it is what the config gives now.

    Args:
        runs: the runs.
        named: ids of those that the user asked for one by one: replays among them stay.
        by: keys that the runs are to be grouped by, if they were named.

    Returns:
        The runs that are left, and a sentence on those that are not.
    """
    present = {run.id for run in runs}
    left = [run for run in runs if run.id in named or run.tags.get(_REPLAY_OF) not in present]
    notes = []
    if replays := len(runs) - len(left):
        notes.append(f"replays of runs that are here are left out: {replays}")
    differ = {key for run in left for key in run.params if _varies(key, left)} - {SEED, FOLD}
    # Where nothing else varies, how to compute is what somebody wants to compare.
    apart = HOW & set(by) if by is not None else HOW if differ <= HOW else frozenset()
    newest: dict[frozenset[tuple[str, str]], RunData] = {}
    for run in sorted(left, key=lambda run: (run.created, run.id)):
        if _counts(run):
            newest[_decisive(run, apart)] = run
    kept = [run for run in left if not _counts(run) or newest[_decisive(run, apart)] is run]
    if repeated := len(left) - len(kept):
        hidden = sorted(differ & HOW - apart)
        hint = f" (--by {','.join(hidden)} tells some of them apart)" if hidden else ""
        notes.append(
            f"runs of one config and seed count once, the newest of them; left out: {repeated}{hint}"
        )
    return kept, notes


def _varies(key: str, runs: Sequence[RunData]) -> bool:
    return len({run.params.get(key) for run in runs}) > 1


def _counts(run: RunData) -> bool:
    """Whether the run has a result, and a seed by which to tell it from others."""
    return run.status == "FINISHED" and SEED in run.params


def _decisive(run: RunData, apart: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Return what of the config decides the result."""
    return frozenset(
        (key, value) for key, value in run.params.items() if key not in HOW or key in apart
    )
