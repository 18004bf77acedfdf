"""What a trial is told to do, and what came of it: plain values, which travel between processes."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Order", "Outcome", "State"]

State = Literal["finished", "pruned", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one trial is to do.

    Args:
        entry: ``module:function`` that does it; it gets the order, and a function that reports.
        config: of one run, validated.
        overrides: what differs from the defaults, for the record.
        command: the command line, for the record.
        uid: id of the run; one that exists is gone on with.
        parent: id of the run that stands for the study.
        tags: of the run, beside those that its config gives it.
        objective: metric whose value is reported at each validation; None reports all of them.
    """

    config: dict[str, Any]
    uid: str
    entry: str = "dlframe.sweep.trial:train"
    overrides: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    parent: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    objective: str | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))

    def reported(self, values: dict[str, float]) -> dict[str, float]:
        """Return which of a validation's metrics are reported: none, where the objective is another.

        For the best of a metric, its value at this validation counts.
        """
        if self.objective is None:
            return values
        known = {f"best/{name.replace('/', '_')}": name for name in values}
        name = known.get(self.objective, self.objective)
        return {self.objective: values[name]} if name in values else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial.

    Args:
        uid: id of its run.
        state: how it ended; ``stopped`` when that was asked for.
        metrics: the last value of each metric of the run, ``best/*``, ``test/*`` and ``cost/*`` among
            them.
        seconds: that it took.
        reason: why it did not finish, in one word of ``marks.Reason``.
        said: the same in one sentence.
        code: exit code of its process, or the negative number of the signal that ended it; None where
            it had no process of its own.
    """

    uid: str
    state: State
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None
    said: str | None = None
    code: int | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Outcome":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))
