"""Which runs a command line names: by id, by multirun, by experiment, by what is true of them."""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import yaml

from dlframe.analysis.runs import RunData
from dlframe.errors import ConfigError, RunNotFoundError, did_you_mean

__all__ = [
    "COMPARED",
    "LAST",
    "Selection",
    "metrics_in",
    "named",
    "nothing_passes",
    "passing",
    "select",
]

COMPARED = "dlframe.compared"
"""Tag of a run that stands for others, whose parent it is not: their ids."""
LAST = "last"
"""The word for the latest multirun."""
_METRICS = "metrics."
_SHORTEST = 4
_MOST_LISTED = 12
_WORDS = {"true": "true", "false": "false", "none": "null", "null": "null", "~": "null"}
_STATES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_OUTSIDE = re.compile(r",(?![^\[]*\])")
"""The commas between values, not those within a list."""
_RECENT = 5
_EXAMPLE = "a filter reads optimizer.lr>1e-3, metrics.test/accuracy>=0.9 or status=FINISHED"
_FILTER = re.compile(r"(?P<key>[^=<>!]+?)\s*(?P<sign>!=|<=|>=|==?|<|>)\s*(?P<value>.*)")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Selection(NamedTuple):
    """The runs that are selected.

    Args:
        runs: the runs.
        parent: the multirun, if they are those of one.
        named: ids of those that were named one by one.
    """

    runs: Sequence[RunData]
    parent: RunData | None
    named: frozenset[str]


def select(
    known: Sequence[RunData], words: Sequence[str], experiment: str | None = None
) -> Selection:
    """Return the runs that all filters let pass, among those named or else all.

    Args:
        known: all runs there are.
        words: ids of runs or multiruns (whole, or their beginning or end), ``last`` for the latest
            multirun, and filters: ``optimizer=adam,sgd`` (one of them), ``optimizer.lr>1e-3``,
            ``metrics.test/accuracy>=0.9``, ``status=FINISHED``.
        experiment: name of the experiment that the runs belong to.

    Raises:
        RunNotFoundError: no run, or more than one, answers to a name, or none passes the filters.
        ConfigError: no run has the experiment or the key of a filter.
    """
    experiments = sorted({run.experiment for run in known})
    if experiment is not None and experiment not in experiments:
        raise ConfigError(
            f"no run here is of experiment {experiment!r}; {did_you_mean(experiment, experiments)}"
            f"there are {', '.join(experiments) or 'none'}"
        )
    pool = [run for run in known if experiment in (None, run.experiment)]
    filters = [word for word in words if _FILTER.fullmatch(word)]
    chosen = [named(word, pool) for word in words if not _FILTER.fullmatch(word)]
    if not words and experiment is None and len(experiments) > 1:
        raise ConfigError(
            f"there are runs of {len(experiments)} experiments; choose one with --experiment: "
            f"{', '.join(experiments)}"
        )
    # A recorded comparison stands for the runs that it compared.
    ids = {uid for run in chosen for uid in (run.id, *run.tags.get(COMPARED, "").split())}
    members = [
        run for run in pool if not run.group and (not ids or run.id in ids or run.parent in ids)
    ]
    left = passing(members, filters)
    if not left:
        said = f" by {' '.join(words)!r}" if words else ""
        why = nothing_passes(members, filters) or "`dlframe runs` lists those there are"
        raise RunNotFoundError(f"no run is selected{said}; {why}")
    parent = chosen[0] if len(chosen) == 1 and chosen[0].group and not filters else None
    return Selection(left, parent, frozenset(ids))


def named(word: str, pool: Sequence[RunData]) -> RunData:
    """Return the run that a word names.

    Args:
        word: its id or MLflow id, whole or in part, or ``last`` for the latest multirun.
        pool: the runs to choose from.

    Raises:
        RunNotFoundError: no run, or more than one, answers to the word.
    """
    if word == LAST:
        groups = [run for run in pool if run.group and COMPARED not in run.tags]
        if not groups:
            raise RunNotFoundError(
                "there is no multirun yet; make one with `dlframe train -m`, or name runs"
            )
        return max(groups, key=lambda run: (run.created, run.id))
    exact = [run for run in pool if word in (run.id, run.mlflow_run_id)]
    found = exact or [run for run in pool if len(word) >= _SHORTEST and _answers(run, word)]
    if len(found) > 1:
        shown = ", ".join(run.id for run in found[-_RECENT:])
        raise RunNotFoundError(
            f"{len(found)} runs answer to {word!r}: {shown}; give more characters"
        )
    if not found:
        ids = [run.id for run in pool]
        recent = f"the latest are {', '.join(ids[-_RECENT:])}" if ids else "there are none"
        raise RunNotFoundError(f"no run answers to {word!r}; {did_you_mean(word, ids)}{recent}")
    return found[0]


def _answers(run: RunData, word: str) -> bool:
    return (
        run.id.startswith(word)
        or run.id.endswith(word)
        or ((run.mlflow_run_id or "").startswith(word))
    )


def passing(runs: Sequence[RunData], filters: Sequence[str]) -> list[RunData]:
    """Return the runs that all filters let pass.

    Args:
        runs: the runs.
        filters: a key, one of ``= != < <= > >=`` and a value each. Keys are those of the config,
            ``status``, ``experiment``, and metrics' names after ``metrics.``. Values are compared as
            YAML, so that it does not matter how a number, a list or ``true`` is written. A run without
            the key passes ``!=`` only.

    Raises:
        ConfigError: a filter is not well formed, or no run has its key.
    """
    facts = [_facts(run) for run in runs]
    left = list(zip(runs, facts, strict=True))
    for word in filters:
        key, sign, value = _parsed(word)
        known = {name for each in facts for name in each}
        if runs and key not in known:
            raise ConfigError(
                f"no run has {key!r} to filter by; {did_you_mean(key, known)}keys that vary are "
                f"{_listed(_varying(facts))}"
            )
        if sign in _SIGNS and math.isnan(_number(value)):
            raise ConfigError(f"{sign} compares numbers, but {word!r} has {value!r}; {_EXAMPLE}")
        left = [each for each in left if _passes(each[1].get(key), sign, value)]
    return [run for run, _ in left]


def nothing_passes(runs: Sequence[RunData], filters: Sequence[str]) -> str | None:
    """Say why no run passes: which values there are; None without filters or runs.

    Args:
        runs: the runs.
        filters: as ``passing`` takes them.
    """
    facts = [_facts(run) for run in runs]
    for word in filters if runs else ():
        key, sign, value = _parsed(word)
        if not any(_passes(each.get(key), sign, value) for each in facts):
            there = sorted({each[key] for each in facts if key in each}, key=_order)
            return f"no run has {word}: the values of {key} are {_listed(there)}"
    return "each filter holds for some run, but all of them for none" if runs and filters else None


def _varying(facts: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for each in facts for key in each if not key.startswith(_METRICS))
    return [key for key in keys if len({each.get(key) for each in facts}) > 1]


def _listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - _MOST_LISTED} more" if len(values) > _MOST_LISTED else ""
    return (", ".join(values[:_MOST_LISTED]) or "none") + more


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    number = _number(value)
    return math.isnan(number), 0.0 if math.isnan(number) else number, value


def metrics_in(words: Sequence[str]) -> list[str]:
    """Return the metrics that the filters among the words ask for."""
    found = (_FILTER.fullmatch(word) for word in words)
    keys = [each["key"] for each in found if each is not None]
    return [key.removeprefix(_METRICS) for key in keys if key.startswith(_METRICS)]


def _parsed(word: str) -> tuple[str, str, str]:
    found = _FILTER.fullmatch(word)
    if found is None:
        raise ConfigError(f"{word!r} is no filter; {_EXAMPLE}")
    return found["key"], found["sign"], found["value"]


def _facts(run: RunData) -> dict[str, str]:
    metrics = {f"{_METRICS}{name}": repr(value) for name, value in run.metrics.items()}
    return {"status": run.status, "experiment": run.experiment, **metrics, **run.params}


def _passes(fact: str | None, sign: str, value: str) -> bool:
    if fact is None:
        return sign == "!="
    left, right = _number(fact), _number(value)
    if sign in _SIGNS:
        return _SIGNS[sign](left, right)
    equal = any(_equal(fact, each) for each in (value, *_OUTSIDE.split(value)))
    return equal == (sign != "!=")


def _equal(fact: str, value: str) -> bool:
    """Whether they are the same text, number or YAML value, however it is written."""
    return fact == value or _number(fact) == _number(value) or _plain(fact) == _plain(value)


def _plain(text: str) -> str:
    """Return one spelling of what YAML, or the record, writes in several."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.upper() in _STATES:
        return text.upper()
    if not text.startswith(("[", "{", '"', "'")):
        return text
    try:
        return json.dumps(yaml.safe_load(text))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):  # it only begins like that
        return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
