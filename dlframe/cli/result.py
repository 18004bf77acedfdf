"""What a command prints that trained a network."""

import json
from typing import TYPE_CHECKING, Any

from dlframe.tracking.where import root_option

if TYPE_CHECKING:
    from dlframe.training.outcome import Run

__all__ = ["report", "summary"]

_MOST_FINDINGS = 3


def report(done: "Run", *, as_json: bool, parent: str | None = None) -> None:
    """Print a run's outcome, as one line of JSON or as a table.

    Args:
        done: the run.
        as_json: whether to print JSON.
        parent: id of the multirun that it is a part of.
    """
    if as_json:
        print(json.dumps(summary(done) | {"parent": parent}))
    else:
        _show(done)


def summary(done: "Run") -> dict[str, Any]:
    """Return a run's outcome as plain values."""
    return {
        "run": done.id,
        "status": done.status,
        "folder": str(done.folder),
        "metrics": done.metrics,
        "seconds": done.seconds,
        "tracking_uri": done.tracking_uri,
        "mlflow_run_id": done.mlflow_run_id,
        "note": done.note,
        "findings": done.findings,
    }


def _show(done: "Run") -> None:
    """Print the test metrics and where to look next."""
    from rich.console import Console
    from rich.table import Table

    from dlframe.training.diagnosis import told

    table = Table(title=f"run {done.id}: {done.status.lower()} in {done.seconds:.1f} s")
    table.add_column("metric")
    table.add_column("test", justify="right")
    table.add_column("validation, best epoch", justify="right")
    names = [key.partition("/")[2] for key in done.metrics if key.startswith("test/")]
    for name in names:
        best = done.metrics.get(f"best/val_{name}")
        shown = "" if best is None else f"{best:.4f}"
        table.add_row(name, f"{done.metrics[f'test/{name}']:.4f}", shown)
    console = Console()
    console.print(table)
    console.print(f"run id      {done.id}", highlight=False)
    console.print(f"folder      {done.folder}", highlight=False, soft_wrap=True)
    where = root_option(done.folder.parent)
    if done.tracking_uri:
        served = done.tracking_uri.startswith(("http://", "https://"))
        look = f"open {done.tracking_uri}" if served else f"dlframe ui{where}"
        console.print(f"MLflow UI   {look}", highlight=False, soft_wrap=True)
    console.print(
        f"predict     dlframe predict {done.id} FILE{where}", highlight=False, soft_wrap=True
    )
    for finding in done.findings[:_MOST_FINDINGS]:
        console.print(f"diagnosis   {told(finding)}", highlight=False, markup=False, soft_wrap=True)
    if done.note:
        console.print(f"note        {done.note}", highlight=False, soft_wrap=True)
