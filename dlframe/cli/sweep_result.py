"""What came out of a search, as ``dlframe train`` says it at the end."""

import json
from typing import TYPE_CHECKING

from dlframe.sweep.hints import about, train_best
from dlframe.sweep.rows import best_lines, row
from dlframe.sweep.snapshot import snapshot

if TYPE_CHECKING:
    import optuna

__all__ = ["report"]


def report(
    study: "optuna.Study",
    storage: str,
    *,
    why: str | None,
    note: str | None,
    as_json: bool,
    fresh: bool,
) -> None:
    """Print how a study stands and what to do with it.

    Args:
        study: the study.
        storage: its address.
        why: why it is over; None where it is not.
        note: what else the user should know.
        as_json: print JSON.
        fresh: whether the command began the study anew.
    """
    found = snapshot(study)
    if as_json:
        best = [row(found, trial) for trial in found.best]
        whole = {"study": found.name, **found.numbers.plain(), "ended": why, "best": best}
        print(json.dumps(whole), flush=True)
        return
    from rich.console import Console

    definition = found.definition
    lines = [("study", found.name), ("trials", found.numbers.line())]
    lines += [("ended", why)] if why else []
    lines += [("best", text) for text in best_lines(found)]
    if (found.folder / "report.html").is_file():
        lines.append(("report", str(found.folder / "report.html")))
    if found.best:
        lines.append(("train it", train_best(definition, storage)))
    lines.append(("more", about("status", definition, storage)))
    if fresh:
        lines.append(("go on", "the same command without --fresh goes on with this study"))
    lines += [("note", note)] if note else []
    console = Console()
    for name, text in lines:
        console.print(f"{name:<11} {text}", highlight=False, soft_wrap=True, markup=False)
