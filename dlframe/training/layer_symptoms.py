"""What the layers of a watched training say of its health."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlframe.training.case import Case, Finding, advice, chosen

__all__ = ["dead_units", "exploding_gradients", "saturated_units", "vanishing_gradients"]

Row = Mapping[str, Any]
_MOST_DEAD = 0.6
"""Share of a layer's units; a healthy convolutional network may have a third in its dense layer."""
_MOST_SATURATED = 0.6
_FAINT, _VIOLENT = 1e-3, 1e3
"""Gradient of the first layer as a multiple of the last one's."""
_ENORMOUS = 1e6


def dead_units(case: Case) -> Finding | None:
    """Units that are silent on all validation examples."""
    rows = _last(case, "dead")
    if not rows or max(row["dead"] for row in rows) < _MOST_DEAD:
        return None
    worst = max(rows, key=lambda row: row["dead"])
    many = sum(row["dead"] >= _MOST_DEAD for row in rows)
    rate = case.config["optimizer"].get("lr")
    lower = [f"optimizer.lr={rate * 0.1:.3g}"] if isinstance(rate, float) else []
    return Finding(
        name="dead_units",
        seen=(
            f"{100 * worst['dead']:.0f} % of the units of {worst['layer']} ({worst['type']}) never "
            f"fired on the validation examples at step {worst['step']}"
            + (f", and as many or nearly as many in {many - 1} more layers" if many > 1 else "")
        ),
        means=(
            "they pass no gradient and cannot come back: a step that was too long has pushed them "
            "below zero, or they began there"
        ),
        mend=advice(case, "activation=leaky_relu", *lower, "initializer=kaiming"),
    )


def saturated_units(case: Case) -> Finding | None:
    """Bounded activations that lie at their bounds."""
    rows = _last(case, "saturated")
    if not rows or max(row["saturated"] for row in rows) < _MOST_SATURATED:
        return None
    worst = max(rows, key=lambda row: row["saturated"])
    return Finding(
        name="saturated_units",
        seen=(
            f"{100 * worst['saturated']:.0f} % of the values of {worst['layer']} ({worst['type']}) "
            f"were at its bounds at step {worst['step']}"
        ),
        means="its slope is next to zero there, so that hardly any gradient passes",
        mend=advice(case, "activation=relu", "initializer=xavier", *_normalized(case)),
    )


def vanishing_gradients(case: Case) -> Finding | None:
    """The first layer gets next to no gradient."""
    ratios = _ratios(case)
    faint = [each for each in ratios if each[0] < _FAINT]
    if not faint or len(faint) < 0.5 * len(ratios) or ratios[-1][0] >= _FAINT:
        return None
    ratio, first, last = ratios[-1]
    if ratio == 0 and any(row["dead"] >= _MOST_DEAD for row in _last(case, "dead")):
        return None  # nothing passes units that are dead
    squashing = chosen(case, "activation") in ("sigmoid", "tanh", "hardsigmoid", "softsign")
    start = "initializer=xavier" if chosen(case, "activation") == "tanh" else "initializer=kaiming"
    return Finding(
        name="vanishing_gradients",
        seen=(
            f"the gradient of the first layer, {first['layer']}, is {_times(ratio)} that of the last, "
            f"{last['layer']}, at step {last['step']} ({first['grad_norm']:.2g} to "
            f"{last['grad_norm']:.2g}), {_depth(case, first)} layers apart"
        ),
        means="each layer passes on less than it gets, so that the first ones do not learn",
        mend=advice(
            case,
            *_normalized(case),
            start,
            *(["activation=relu"] if squashing else []),
            *(["architecture=resnet"] if chosen(case, "architecture") == "cnn" else []),
        ),
    )


def exploding_gradients(case: Case) -> Finding | None:
    """Gradients grow from layer to layer, or in the course of training, beyond all measure."""
    norms = [
        math.sqrt(sum(row["grad_norm"] ** 2 for row in rows if row["grad_norm"] >= 0))
        for rows in _by_step(case)
    ]
    ratios = _ratios(case)
    if norms and not math.isfinite(norms[-1]):
        seen = "the gradients became infinite"
    elif ratios and ratios[-1][0] > _VIOLENT:
        ratio, first, last = ratios[-1]
        seen = (
            f"the gradient of the first layer, {first['layer']}, is {_times(ratio)} that of the last, "
            f"{last['layer']}, at step {last['step']}"
        )
    elif norms and norms[0] > _ENORMOUS:
        seen = f"the gradient was {norms[0]:.2g} long at the first step"
    elif len(norms) > 1 and norms[-1] > _VIOLENT * norms[0] > 0:
        seen = f"the gradient has grown from {norms[0]:.2g} at the first step to {norms[-1]:.2g}"
    else:
        return None
    return Finding(
        name="exploding_gradients",
        seen=seen,
        means="each layer passes on more than it gets, so that steps are of any length",
        mend=advice(
            case,
            "trainer.gradient_clip=1.0",
            *_normalized(case),
            "initializer=kaiming",
        ),
    )


def _by_step(case: Case) -> list[list[Row]]:
    """Return the layers of weights at each measured step, in order."""
    found: dict[int, list[Row]] = {}
    for row in case.rows:
        if row["weighted"]:
            found.setdefault(row["step"], []).append(row)
    return list(found.values())


def _last(case: Case, quantity: str) -> Sequence[Row]:
    """Return the rows of the last step at which a quantity was measured."""
    known = [row for row in case.rows if row["active"] and not math.isnan(row[quantity])]
    return [row for row in known if row["step"] == known[-1]["step"]]


def _ratios(case: Case) -> list[tuple[float, Row, Row]]:
    """Return, for each measured step, the first layer's gradient by the last one's, and both."""
    found = []
    for rows in _by_step(case) if case.players == 1 else ():
        first, last = rows[0], rows[-1]
        if len(rows) > 2 and first["grad_norm"] >= 0 and last["grad_norm"] > 0:
            found.append((first["grad_norm"] / last["grad_norm"], first, last))
    return found


def _depth(case: Case, first: Row) -> int:
    return sum(1 for row in case.rows if row["weighted"] and row["step"] == first["step"]) - 1


def _times(ratio: float) -> str:
    return f"{ratio:.1e} times" if ratio else "zero times"


def _normalized(case: Case) -> list[str]:
    known = chosen(case, "architecture") in ("mlp", "cnn")
    return ["architecture.normalization=batch"] if known else []
