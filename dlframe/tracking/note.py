"""The note of a run, in Markdown, as MLflow shows it under the run's name.

The training process writes down what it knows at the start; whoever sees the end, which after the
death of that process is the delivery process, adds how it ended.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlframe.tracking.whole import write_whole

__all__ = ["TAG", "Facts", "merged", "render"]

TAG = "mlflow.note.content"
_FILE = "note.json"
_END = "<!-- What follows is yours: dlframe leaves it as it is. -->"
_MOST_CHARACTERS = 3000
"""Of the differences; MLflow takes 8000 for the whole note."""
_LONGEST_COMMAND = 1500
_MOST_METRICS = 20
_LONGEST_VALUE = 120


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a run's note says that is known from its start.

    Args:
        uid: the run's id.
        data: one line on the data.
        model: one line on the network.
        differences: option, value, and default where there is one, of all that differs from the
            default config.
        command: the command line that trained it.
        monitor: the metric that picks the best weights.
        replay: the command that trains it again.
        resume: the command that goes on with it.
    """

    uid: str
    data: str
    model: str
    differences: tuple[tuple[str, str, str], ...]
    command: str
    monitor: str
    replay: str
    resume: str

    def write(self, folder: Path) -> None:
        """Write the facts into the run's folder."""
        write_whole(folder / _FILE, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Facts | None":
        """Read what ``write`` wrote; None where the run ended before that."""
        path = folder / _FILE
        if not path.is_file():
            return None
        values: dict[str, Any] = json.loads(path.read_text())
        values["differences"] = tuple(tuple(each) for each in values["differences"])
        return cls(**values)


def render(
    facts: Facts,
    *,
    status: str = "RUNNING",
    error: str | None = None,
    metrics: Mapping[str, float] | None = None,
) -> str:
    """Return the note.

    Args:
        facts: what is known from the start.
        status: how the run stands, as MLflow says it.
        error: what went wrong, of which the last line is shown.
        metrics: the latest value of each metric.
    """
    parts = [_headline(facts, status, error, metrics or {})]
    if table := _results(metrics or {}):
        parts.append(table)
    parts.append(_differences(facts))
    parts.append(f"**Data** {facts.data}  \n**Model** {facts.model}")
    command = facts.command
    if len(command) > _LONGEST_COMMAND:
        command = f"{command[:_LONGEST_COMMAND]}… (whole in the tag dlframe.command)"
    parts.append(f"**Command**\n\n```\n{command}\n```")
    again = f"**Train it again**\n\n```\n{facts.replay}\n```"
    if status not in ("FINISHED", "RUNNING"):
        again = f"**Go on with it**\n\n```\n{facts.resume}\n```\n\n{again}"
    return "\n\n".join([*parts, again, _END]) + "\n"


def merged(old: str | None, new: str) -> str:
    """Return the new note with what the user has written below the old one, or instead of it."""
    if old is None:
        return new
    _, ours, own = old.partition(_END)
    return new.rstrip("\n") + own if ours else old


def _headline(facts: Facts, status: str, error: str | None, metrics: Mapping[str, float]) -> str:
    name = facts.monitor.partition("/")[2]
    found = {
        "test": metrics.get(f"test/{name}"),
        "validation, best epoch": metrics.get(f"best/val_{name}"),
        "validation, last": metrics.get(facts.monitor),
    }
    shown = [f"{value:.4g} ({part})" for part, value in found.items() if value is not None]
    words = {"RUNNING": "Training", "FINISHED": "Finished", "FAILED": "Failed", "KILLED": "Stopped"}
    line = f"**{words.get(status, status)}**"
    if shown:
        line += (
            f" with {name} **{shown[0].partition(' ')[0]}** {', '.join(shown).partition(' ')[2]}"
        )
    if "cost/seconds" in metrics:
        line += f" in {metrics['cost/seconds']:.1f} s"
    if error and (said := error.strip()):
        line += f": {_escaped(said.splitlines()[-1])}"
    return line


def _results(metrics: Mapping[str, float]) -> str:
    names = [key.partition("/")[2] for key in metrics if key.startswith("test/")]
    if not names:
        return ""
    lines = ["| metric | test | validation, best epoch |", "| --- | ---: | ---: |"]
    for name in sorted(names)[:_MOST_METRICS]:
        best = metrics.get(f"best/val_{name}")
        shown = "" if best is None else f"{best:.4f}"
        lines.append(f"| {_escaped(name)} | {metrics[f'test/{name}']:.4f} | {shown} |")
    return "\n".join(lines)


def _differences(facts: Facts) -> str:
    if not facts.differences:
        return "**Differs from the defaults** in nothing."
    lines = [
        "**Differs from the defaults**",
        "",
        "| option | value | default |",
        "| --- | --- | --- |",
    ]
    room = _MOST_CHARACTERS
    shown = 0
    for row in facts.differences:
        line = f"| {' | '.join(_escaped(cell) for cell in row)} |"
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
        shown += 1
    if more := len(facts.differences) - shown:
        lines.append(f"| and {more} more, in config/differences.json | | |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line and of readable length."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST_VALUE else f"{line[: _LONGEST_VALUE - 1]}…"
    return "".join(f"\\{c}" if c in "\\|`*_<>[]" else c for c in line)
