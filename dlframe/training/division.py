"""Which rows train, validate and test: at random, by class, in order of time, or by folds."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dlframe.config.folds import refuse_all_folds
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Examples
from dlframe.interfaces.options import DataOptions
from dlframe.training.targets import Indices, Targets

__all__ = ["Division", "divide"]


class Division(NamedTuple):
    """Row numbers of the three parts, each ascending."""

    train: Indices
    val: Indices
    test: Indices


def divide(examples: Examples, targets: Targets, options: DataOptions) -> Division:
    """Divide the rows.

    The result depends on the examples' number, classes and spans of time, on parts that the data fixes,
    and on ``options`` only.

    Raises:
        ConfigError: the options of the folds exclude each other, or no fold is chosen.
        DataError: a part would be empty, or a class too rare.
    """
    refuse_all_folds(options.folds, options.fold)
    if options.fold is not None and (options.folds is None or options.fold >= options.folds):
        raise ConfigError(
            f"data.fold must be less than data.folds; got fold {options.fold} of {options.folds}"
        )
    divided = (_at_random if examples.spans is None else _by_time)(examples, targets, options)
    for name, rows in divided._asdict().items():
        if not len(rows):
            part = {"train": "training", "val": "validation", "test": "test"}[name]
            raise DataError(
                f"the {part} part is empty; raise data.limit, add examples, or change the fractions"
            )
    return divided


# --- at random -----------------------------------------------------------------------------------


def _at_random(examples: Examples, targets: Targets, options: DataOptions) -> Division:
    count, seed = len(examples.x), options.split_seed
    labels = targets.y if targets.kind == "classes" and options.stratify else None
    fixed = {"test": examples.test, "val": examples.val}
    if options.folds is not None:
        fixed["val"] = None  # the folds take its place
    parts = {name: np.sort(rows) for name, rows in fixed.items() if rows is not None}
    rest = np.setdiff1d(np.arange(count), np.concatenate([*parts.values(), np.zeros(0, np.int64)]))
    if options.limit is not None and options.limit < count:
        left = options.limit
        for name, rows in parts.items():
            kept = round(options.limit * len(rows) / count)
            parts[name] = _draw(rows, kept, labels, seed)[0]
            left -= kept
        rest = _draw(rest, left, labels, seed)[0]
    fractions: Mapping[str, float] = {"data.validation": options.validation}
    if options.folds is not None and options.fold is not None:
        name = "val" if "test" in parts else "test"
        parts[name], rest = _fold(rest, options.folds, options.fold, labels, targets.names, seed)
    if "test" not in parts:
        fractions = {"data.test": options.test, **fractions}
        held_out = math.ceil(options.test * len(rest))
        _check_sizes(rest, held_out, labels, targets.names, fractions, 2 + ("val" not in parts))
        parts["test"], rest = _draw(rest, held_out, labels, seed)
    if "val" not in parts:
        held_out = math.ceil(options.validation * len(rest))
        _check_sizes(rest, held_out, labels, targets.names, fractions, 2)
        parts["val"], rest = _draw(rest, held_out, labels, seed)
    return Division(rest, parts["val"], parts["test"])


def _check_sizes(
    rows: Indices,
    held_out: int,
    labels: Indices | None,
    names: tuple[str, ...],
    fractions: Mapping[str, float],
    parts: int,
) -> None:
    """Refuse a split that leaves a part empty or, if stratified, a class without example."""
    chosen = " and ".join(f"{option}={value:g}" for option, value in fractions.items())
    if not 0 < held_out <= len(rows) - (parts - 1):
        raise DataError(
            f"{len(rows)} examples are too few for {parts} parts with {chosen}; add examples, "
            "raise data.limit, or change the fractions"
        )
    if labels is None:
        return
    classes = _check_classes(rows, labels, names, f"{parts} parts", parts)
    if held_out < classes:
        raise DataError(
            f"a stratified part needs an example of each of {classes} classes; {len(rows)} "
            f"examples with {chosen} give it {held_out}: raise the fraction or data.limit, or set "
            "data.stratify=false"
        )


def _check_classes(
    rows: Indices, labels: Indices, names: tuple[str, ...], what: str, parts: int
) -> int:
    """Refuse classes with fewer examples than parts; return the number of classes."""
    classes, counts = np.unique(labels[rows], return_counts=True)
    rarest = int(counts.argmin())
    if counts[rarest] < parts:
        name, number = names[classes[rarest]], int(counts[rarest])
        raise DataError(
            f"each class needs an example in each of {what}; {name!r} has "
            f"{'a single example' if number == 1 else f'{number} examples'}: add more, leave the "
            "class out, or set data.stratify=false"
        )
    return len(classes)


def _draw(rows: Indices, count: int, labels: Indices | None, seed: int) -> tuple[Indices, Indices]:
    """Draw ``count`` rows at random and return them and the others, both ascending."""
    # Scikit-learn takes most of a second to import; commands that load no data save it.
    from sklearn.model_selection import train_test_split

    if count in (0, len(rows)):
        return rows[:count], rows[count:]
    strata = None if labels is None else labels[rows]
    if strata is not None:
        sizes = np.unique(strata, return_counts=True)[1]
        if sizes.min() < 2 or min(count, len(rows) - count) < len(sizes):
            strata = None  # too few to draw, or to leave, one of each class
    drawn, others = train_test_split(rows, train_size=count, random_state=seed, stratify=strata)
    return np.sort(drawn), np.sort(others)


def _fold(
    rows: Indices, folds: int, fold: int, labels: Indices | None, names: tuple[str, ...], seed: int
) -> tuple[Indices, Indices]:
    """Return one of several equal, disjoint parts, and the rest."""
    from sklearn.model_selection import KFold, StratifiedKFold

    if len(rows) < 2 * folds:
        raise DataError(
            f"{len(rows)} examples are too few for {folds} folds; lower data.folds or add examples"
        )
    if labels is not None:
        _check_classes(rows, labels, names, f"{folds} folds", folds)
    kind = KFold if labels is None else StratifiedKFold
    cut = kind(folds, shuffle=True, random_state=seed).split(
        rows, None if labels is None else labels[rows]
    )
    others, held_out = list(cut)[fold]
    return rows[held_out], rows[others]


# --- in order of time ----------------------------------------------------------------------------


def _by_time(examples: Examples, targets: Targets, options: DataOptions) -> Division:
    """Train on what came first, validate on what came then, test on what came last.

    An example whose span of time reaches over a border belongs to no part: its target would be known
    to one and asked of the other.
    """
    assert examples.spans is not None
    first, last = examples.spans[:, 0], examples.spans[:, 1]
    rows = np.lexsort((first, last))
    if options.limit is not None:
        rows = rows[: options.limit]
    if options.folds is not None and options.fold is not None:
        # Growing histories: the test moves on block by block, and all before it may be learned from.
        blocks = np.array_split(np.unique(first[rows]), options.folds + 1)
        if not len(blocks[-1]):
            raise DataError(
                f"{len(rows)} examples are too few for {options.folds} folds in order of time; lower "
                "data.folds or add examples"
            )
        block = blocks[options.fold + 1]
        test = rows[(first[rows] >= block[0]) & (first[rows] <= block[-1])]
    elif examples.test is not None:
        test = rows[np.isin(rows, examples.test)]
    else:
        test = _latest(rows, first, options.test)
    rows = rows[last[rows] < first[test].min(initial=np.iinfo(np.int64).max)]
    if examples.val is not None and options.folds is None:
        val = rows[np.isin(rows, examples.val)]
    else:
        val = _latest(rows, first, options.validation)
    rows = rows[last[rows] < first[val].min(initial=np.iinfo(np.int64).max)]
    return Division(np.sort(rows), np.sort(val), np.sort(test))


def _latest(rows: Indices, first: Indices, fraction: float) -> Indices:
    """Return the rows of the last share of the moments at which examples begin."""
    if not len(rows):
        return rows
    moments = np.unique(first[rows])
    begins = moments[len(moments) - math.ceil(fraction * len(moments))]
    latest: Indices = rows[first[rows] >= begins]
    return latest
