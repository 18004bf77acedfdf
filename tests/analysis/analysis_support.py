"""Runs made by hand, with numbers that a test knows."""

from collections.abc import Mapping
from typing import Any

from dlframe.analysis.runs import Curve, RunData


def made(
    number: int,
    *,
    metrics: Mapping[str, float] | None = None,
    curves: Mapping[str, Curve] | None = None,
    tags: Mapping[str, str] | None = None,
    **fields: Any,
) -> RunData:
    """Return a run; fields that are none of ``RunData``'s are config keys, with ``__`` for a dot."""
    own = {k: fields.pop(k) for k in ("status", "experiment", "parent", "group") if k in fields}
    drawn = dict(curves or {})
    return RunData(
        **{"status": "FINISHED", "experiment": "e", **own},
        id=f"20261121-1200{number:02d}-aaaa",
        name=f"run {number}",
        created=number,
        params={key.replace("__", "."): str(value) for key, value in fields.items()},
        tags={
            "dlframe.primary_metric": "val/accuracy",
            "dlframe.primary_mode": "max",
            **(tags or {}),
        },
        metrics=dict(metrics or {}),
        curve=lambda name: drawn.get(name, []),
    )


def two_groups(
    first: Mapping[int, float], second: Mapping[int, float], metric: str = "test/accuracy"
) -> list[RunData]:
    """Return runs of two activations: the values of ``metric`` by seed."""
    runs: list[RunData] = []
    for activation, values in (("relu", first), ("tanh", second)):
        for seed, value in values.items():
            runs.append(
                made(len(runs), metrics={metric: value}, activation=activation, seed=seed, data="d")
            )
    return runs
