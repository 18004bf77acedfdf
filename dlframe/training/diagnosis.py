"""What ails a training, in words: from its curves, and from its layers where they were watched."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlframe.tracking.whole import write_whole
from dlframe.training import layer_symptoms, symptoms
from dlframe.training.case import Case, Finding

__all__ = ["FILE", "RULES", "TAG", "diagnose", "read", "tag", "told", "write"]

FILE = "diagnosis.json"
TAG = "dlframe.diagnosis"
_LONGEST = 5000
"""Characters that MLflow keeps of a tag."""

RULES: tuple[Callable[[Case], Finding | None], ...] = (
    symptoms.diverged,
    symptoms.learning_rate_too_high,
    layer_symptoms.exploding_gradients,
    layer_symptoms.vanishing_gradients,
    layer_symptoms.saturated_units,
    layer_symptoms.dead_units,
    symptoms.weights_too_large,
    symptoms.learning_rate_too_low,
    symptoms.class_imbalance,
    symptoms.nothing_learned,
    symptoms.overfitting,
    symptoms.underfitting,
    symptoms.training_too_short,
)
"""In the order in which they are told: what explains others first."""

_EXPLAINED: Mapping[str, frozenset[str]] = {
    "diverged": frozenset(
        ("learning_rate_too_high", "overfitting", "exploding_gradients", "dead_units",
         "saturated_units")
    ),
    "learning_rate_too_high": frozenset(
        ("nothing_learned", "underfitting", "overfitting", "exploding_gradients")
    ),
    "vanishing_gradients": frozenset(("learning_rate_too_low", "underfitting")),
    "dead_units": frozenset(("underfitting",)),
    "weights_too_large": frozenset(
        ("nothing_learned", "underfitting", "training_too_short", "learning_rate_too_low")
    ),
    "learning_rate_too_low": frozenset(("nothing_learned", "underfitting", "training_too_short")),
    "class_imbalance": frozenset(("nothing_learned", "underfitting")),
    "nothing_learned": frozenset(("overfitting", "underfitting", "training_too_short")),
    "overfitting": frozenset(("underfitting", "training_too_short")),
}  # fmt: skip
"""What goes without saying once its cause is said."""


def diagnose(case: Case) -> list[Finding]:
    """Return what was found, the most telling first; an empty list for a healthy training."""
    kept: list[Finding] = []
    said: set[str] = set()
    for rule in RULES:
        finding = rule(case)
        if finding is not None and finding["name"] not in said:
            kept.append(finding)
            said |= _EXPLAINED.get(finding["name"], frozenset())
    return kept


def told(finding: Mapping[str, Any]) -> str:
    """Return a finding as one sentence."""
    name = str(finding["name"]).replace("_", " ")
    advice = f"; try {', '.join(finding['mend'])}" if finding["mend"] else ""
    return f"{name}: {finding['seen']}; {finding['means']}{advice}"


def tag(findings: Sequence[Finding]) -> str:
    """Return all findings as a tag: one line for each."""
    return "\n".join(map(told, findings))[:_LONGEST]


def write(findings: Sequence[Finding], folder: Path) -> Path:
    """Write findings into a run's folder; return the file."""
    path = folder / FILE
    write_whole(path, json.dumps(findings, indent=1))
    return path


def read(folder: Path) -> list[Finding]:
    """Read what ``write`` wrote; nothing where nothing was found."""
    path = folder / FILE
    if not path.is_file():
        return []
    found: list[Finding] = json.loads(path.read_text())
    return found
