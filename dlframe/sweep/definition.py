"""What a study is: stored in the study itself, so that a worker needs nothing but its address."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dlframe.errors import ConfigError
from dlframe.tracking.redaction import without_credentials

__all__ = ["Chosen", "Definition", "Goal", "Limits", "Parameter", "Stops", "telling"]

_FORMAT = 1
_WHERE = ("tracking.experiment", "tracking.root", "tracking.uri")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One dimension of a search space.

    Args:
        name: in the storage and in tables; the key, or ``key@component`` where several components
            have a range of their own for the same key.
        key: what it overrides, such as ``optimizer.lr`` or ``activation``.
        distribution: Optuna's, as ``optuna.distributions.distribution_to_json`` gives it.
        texts: of a categorical one: for each choice, in order, the value as an override writes it.
        when: ``[key, component]`` pairs that must all hold for a trial to have it, as in
            ``("optimizer", "sgd")``, ``("architecture", "mlp|cnn")`` for either of two, or
            ``("regularizer", "l2")`` where l2 must be among them; see ``space_trials.holds``.
    """

    name: str
    key: str
    distribution: str
    texts: tuple[str, ...] = ()
    when: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective.

    Args:
        metric: name of a metric as runs record it, such as ``val/loss`` or ``cost/parameters``.
        direction: whether it is to become small or large.
    """

    metric: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A sampler or pruner.

    Args:
        component: its id, such as ``dlframe/tpe``.
        options: its options.
    """

    component: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends a study; whichever comes first. Not part of its identity: they may be changed later.

    Args:
        n_trials: trials in all, those of earlier commands included; None has no such limit.
        timeout: seconds of one command.
        target: value of the first goal that suffices.
        patience: trials in a row without a better value.
        max_failures: trials in a row that may fail before the rest is given up.
    """

    n_trials: int | None = 50
    timeout: float | None = None
    target: float | None = None
    patience: int | None = None
    max_failures: int | None = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one trial may take; not part of the study's identity.

    Args:
        timeout: seconds.
        memory: MiB of its resident memory.
        gpus: that it gets for itself, 0 for none of its own; None is one, where the worker that
            runs it has any.
        retries: how often a trial is begun again that was killed, lost or ran out of memory or time.
    """

    timeout: float | None = None
    memory: int | None = None
    gpus: int | None = None
    retries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A study.

    Args:
        name: of the study.
        fixed: overrides that all trials share.
        space: its dimensions; those that others depend on come first.
        goals: its objectives.
        constraints: such as ``cost/parameters <= 1e5``; a trial that breaks one is not the best.
        sampler: proposes values.
        pruner: ends trials early; None never does.
        seed: of the sampler; None draws one.
        seeds: of each trial: how many runs, with different seeds, are averaged.
        folds: of each trial: how many runs, with different folds of the data, are averaged.
        epochs: that a trial has if it is not pruned; 0 where that is not known.
        root: folder of the runs.
        config_dir: the user's own YAML files, as the study keeps them; None for none.
        base: name by which the same command finds it, if ``--fresh`` has added a number to that.
        execution: whether trials run in processes of their own, or in the worker's.
        stops: what ends it.
        limits: what a trial may take.
    """

    name: str
    fixed: tuple[str, ...]
    space: tuple[Parameter, ...]
    goals: tuple[Goal, ...]
    constraints: tuple[str, ...] = ()
    sampler: Chosen
    pruner: Chosen | None
    seed: int | None
    seeds: int = 1
    folds: int = 1
    epochs: int = 0
    root: str
    config_dir: str | None = None
    base: str | None = None
    execution: Literal["process", "inline"] = "process"
    stops: Stops = Stops()
    limits: Limits = Limits()

    @property
    def repeats(self) -> int:
        """How many runs a trial is the mean of."""
        return self.seeds * self.folds

    def fingerprint(self) -> str:
        """Return what must stay as it is while a study goes on: space, goals and fixed overrides."""
        kept = ("space", "goals", "constraints", "seeds")
        found = {name: value for name, value in asdict(self).items() if name in kept}
        found["fixed"] = telling(self.fixed)
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return it as the storage keeps it."""
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> "Definition":
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: it is of another version, or damaged.
        """
        try:
            found = json.loads(text)
            if found.pop("format") != _FORMAT:
                raise ValueError("it was written by another version of dlframe")
            space = [{**p, "when": tuple(tuple(w) for w in p["when"])} for p in found["space"]]
            found["space"] = tuple(Parameter(**{**p, "texts": tuple(p["texts"])}) for p in space)
            found["goals"] = tuple(Goal(**goal) for goal in found["goals"])
            found["fixed"], found["constraints"] = (
                tuple(found["fixed"]),
                tuple(found["constraints"]),
            )
            found["sampler"] = Chosen(**found["sampler"])
            found["pruner"] = Chosen(**found["pruner"]) if found["pruner"] else None
            found["stops"], found["limits"] = Stops(**found["stops"]), Limits(**found["limits"])
            return cls(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the study's definition cannot be read ({error}); begin another study with "
                "hydra.sweeper.study_name=<name>"
            ) from error


def telling(fixed: Sequence[str]) -> list[str]:
    """Return the overrides that make a study another one, in the order of their keys.

    How runs are recorded changes nothing that they find; where does matter, as all of a study's runs
    are children of one. Nor does a password that has changed.
    """
    kept = []
    for text in fixed:
        key = text.partition("=")[0].lstrip("+~")
        if not key.startswith("tracking.") or key in _WHERE:
            kept.append((key, without_credentials(text)))
    return [text for _, text in sorted(kept, key=lambda each: each[0])]
