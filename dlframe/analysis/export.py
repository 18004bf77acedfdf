"""A comparison for programs: every number as JSON, groups and tests as CSV."""

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from dlframe.analysis.comparison import Comparison
from dlframe.analysis.estimates import LEVEL
from dlframe.analysis.independent import FOLD, SEED

__all__ = ["tests_to_csv", "to_csv", "to_plain"]


def to_plain(comparison: Comparison) -> dict[str, Any]:
    """Return all numbers as plain values for JSON; what is not finite becomes None."""
    grouping = comparison.grouping
    plain = {
        "by": list(grouping.by),
        "paired_by": list(grouping.pairing),
        "confidence": LEVEL,
        "correction": "Holm",
        "baseline": comparison.baseline,
        "notes": list(comparison.notes),
        "groups": [
            {"group": group.label, "values": dict(group.values), "runs": [r.id for r in group.runs]}
            for group in grouping.groups
        ],
        "runs": [
            {
                "run": run.id,
                "name": run.name,
                "status": run.status,
                "group": group.label,
                "seed": run.params.get(SEED),
                "fold": run.params.get(FOLD) if grouping.folds else None,
                "metrics": {
                    each.metric: run.metrics.get(each.metric) for each in comparison.metrics
                },
            }
            for group in grouping.groups
            for run in group.runs
        ],
        "metrics": [
            {
                "metric": each.metric,
                "goal": each.goal,
                "best_group": each.leader,
                "best_run": None if each.best is None else _run(each.best),
                "worst_run": None if each.worst is None else _run(each.worst),
                "groups": [
                    {"group": label, **asdict(summary)} for label, summary in each.summaries.items()
                ],
                "tests": [
                    {
                        "group": pair.first,
                        "against": pair.second,
                        **asdict(pair.contrast),
                        "p_holm": pair.corrected,
                    }
                    for pair in each.pairs
                ],
            }
            for each in comparison.metrics
        ],
    }
    finite: dict[str, Any] = _finite(plain)
    return finite


def to_csv(comparison: Comparison) -> str:
    """Return the summaries as CSV: a row for each metric and group, with a column for each key."""
    keys = list(comparison.grouping.by)
    numbers = ["n", "mean", "std", "low", "high", "interval", "minimum", "maximum", "reason"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", *(keys or ["group"]), "runs", *numbers])
    for each in comparison.metrics:
        for group in comparison.grouping.groups:
            summary = asdict(each.summaries[group.label])
            words = [group.values[key] for key in keys] or [group.label]
            values = ["" if summary[name] is None else summary[name] for name in numbers]
            writer.writerow([each.metric, *words, len(group.runs), *values])
    return text.getvalue()


def tests_to_csv(comparison: Comparison) -> str:
    """Return the tests between groups as CSV: a row for each metric and pair of groups."""
    numbers = [
        "test", "n", "left_out", "difference", "low", "high", "statistic", "df", "p", "effect",
        "effect_kind", "reason",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "group", "against", *numbers, "p_holm"])
    for each in comparison.metrics:
        for pair in each.pairs:
            found = asdict(pair.contrast) | {"n": " ".join(map(str, pair.contrast.n))}
            values = [found[name] for name in numbers]
            cells = ["" if value is None else value for value in (*values, pair.corrected)]
            writer.writerow([each.metric, pair.first, pair.second, *cells])
    return text.getvalue()


def _run(found: tuple[str, float]) -> dict[str, Any]:
    return {"run": found[0], "value": found[1]}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
