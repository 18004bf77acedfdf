"""Which dimensions of a search space decided how good a trial was."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlframe.sweep.snapshot import Snapshot

__all__ = ["LEAST", "Importances", "importances"]

LEAST = 10
"""Completed trials from which on something can be said."""
_BEST, _PART = 5, 0.1


@dataclass(frozen=True, kw_only=True)
class Importances:
    """What each dimension did to be among the best trials.

    Args:
        trials: how many completed trials they are taken from.
        quantile: which part of those count as the best.
        shares: each dimension's part, the largest first; together they are 1.
        notes: what Optuna said of the reckoning, such as that there are few trials.
    """

    trials: int
    quantile: float
    shares: Mapping[str, float]
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {
            "evaluator": "PED-ANOVA",
            "trials": self.trials,
            "quantile": self.quantile,
            "importances": dict(self.shares),
            "notes": list(self.notes),
        }


def importances(found: Snapshot) -> Importances | None:
    """Reckon importances by PED-ANOVA, which knows dimensions that only some trials have.

    It compares where the best tenth of the trials lies with where all do; of fewer than fifty trials
    the best five. Several goals are taken together, by what is near their front.

    Returns:
        The importances; None where fewer than ten trials completed, or nothing was searched.
    """
    complete = found.of("complete")
    if len(complete) < LEAST or not any(trial.params for trial in complete):
        return None
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    quantile = max(_PART, _BEST / len(complete))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        shares = get_param_importances(found.study, evaluator=evaluator)
    ordered = dict(sorted(shares.items(), key=lambda each: (-each[1], each[0])))
    notes = dict.fromkeys(str(each.message) for each in said)
    return Importances(trials=len(complete), quantile=quantile, shares=ordered, notes=tuple(notes))
