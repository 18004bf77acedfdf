"""The note of a study's run, in Markdown, as MLflow shows it under the run's name."""

from collections.abc import Sequence

from dlframe.sweep.hints import about
from dlframe.sweep.pace import busy_seconds, told
from dlframe.sweep.page import best_table
from dlframe.sweep.snapshot import Snapshot
from dlframe.tracking.provenance import command_line
from dlframe.tracking.recorder import Status

__all__ = ["note"]

_LONGEST, _LONGEST_COMMAND, _LONGEST_ERROR = 7500, 1500, 1000
_MOST_BEST = 12
_WORDS: dict[Status, str] = {"FINISHED": "Finished", "FAILED": "Failed", "KILLED": "Stopped"}


def note(
    found: Snapshot,
    *,
    status: Status,
    error: str | None,
    command: Sequence[str],
    storage: str | None = None,
    odd: Sequence[str] = (),
) -> str:
    """Return the note.

    Args:
        found: the study.
        status: how the command ended.
        error: what went wrong, in one sentence.
        command: its words.
        storage: address of the study; None for the usual file.
        odd: what could not be read of the trials' runs.
    """
    line = (
        f"**{_WORDS[status]}** with {found.numbers.line()}, {told(busy_seconds(found))} of training"
    )
    parts = [f"{line}: {error[:_LONGEST_ERROR]}" if error else line]
    several = len(found.definition.goals) > 1
    if found.best:
        table = best_table(found, _MOST_BEST).markdown()
        heading = f"**{'Best trials' if several else 'Best trial'}**"
        if (more := len(found.best) - _MOST_BEST) > 0:
            heading += f" ({more} more: artifact `study/pareto.yaml`)"
        parts.append(f"{heading}\n\n{table}")
    parts.append(
        "Figures and tables: artifact `study/report.html`; all trials: `study/trials.csv`."
    )
    again = about("best", found.definition, storage)
    again += " --trial N --command" if several else " --command"
    if found.best:
        parts.append(f"**Train it again** (prints the command)\n\n```\n{again}\n```")
    words = command_line(command)
    if len(words) > _LONGEST_COMMAND:
        words = f"{words[:_LONGEST_COMMAND]}… (whole in the tag dlframe.command)"
    how = (
        "takes up what is left" if found.numbers.left != 0 else "with a larger n_trials searches on"
    )
    parts.append(f"**Go on**: the same command {how}\n\n```\n{words}\n```")
    actions = ("status", "trials", "export", *(("retry",) if found.of("failed") else ()))
    see = [about(action, found.definition, storage) for action in actions]
    parts.append("**See more**\n\n```\n" + "\n".join(see) + "\n```")
    parts += [f"- {each}" for each in odd]
    text = ""
    for part in parts:
        if len(text) + len(part) > _LONGEST:
            return f"{text}The rest is in the artifact.\n"
        text += f"{part}\n\n"
    return text
