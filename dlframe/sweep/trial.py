"""One trial as its process carries it out: the training, and what comes of it in words."""

import time
import traceback
from contextlib import closing
from importlib import import_module
from pathlib import Path

from dlframe.errors import BrokenPluginError, ConfigError, sentence
from dlframe.sweep.order import Order, Outcome
from dlframe.tracking.whole import write_whole
from dlframe.training.channel import Channel, Report
from dlframe.training.processes import lacked_memory

__all__ = ["ORDER", "RESULT", "perform", "perform_in_child", "train"]

ORDER, RESULT = "order.json", "result.json"


def train(order: Order, report: Report) -> Outcome:
    """Train, test and record the run that is ordered; go on with what an earlier attempt left of it.

    Args:
        order: what to train.
        report: takes the number of an epoch and its validation metrics; says whether to stop.

    Raises:
        DlframeError: as for ``dlframe.training.run.execute``.
    """
    from dlframe.training.run import execute_trial

    run = execute_trial(
        order.config,
        order.uid,
        overrides=order.overrides,
        command=order.command,
        parent=order.parent,
        tags=order.tags,
        report=report,
    )
    pruned = run.pruned
    return Outcome(
        uid=run.id,
        state="pruned" if pruned else "finished",
        metrics=run.metrics | run.summaries,
        seconds=run.seconds,
        reason="pruned" if pruned else None,
        said=f"it was pruned after epoch {run.metrics['epoch']:.0f}" if pruned else None,
    )


def perform(order: Order, report: Report) -> Outcome:
    """Carry an order out in this process; what it raises becomes a part of the outcome.

    Raises:
        KeyboardInterrupt: somebody asked for the end.
    """
    began = time.monotonic()
    try:
        module, _, name = order.entry.partition(":")
        outcome: Outcome = getattr(import_module(module), name)(order, report)
        return outcome
    except SystemExit as error:
        traceback.print_exc()
        return _failed(order, began, *_exited(error))
    except Exception as error:
        traceback.print_exc()
        return _failed(order, began, _reason(error), sentence(error))


def perform_in_child(place: Path, address: str) -> int:
    """Carry out the order that lies in a folder, and leave the outcome there.

    Args:
        place: the folder.
        address: where reports go.

    Returns:
        The exit code.
    """
    order = Order.from_json((place / ORDER).read_text())
    began = time.monotonic()
    try:
        with closing(Channel(address)) as channel:
            outcome = perform(order, channel)
    except KeyboardInterrupt as stop:
        seconds = time.monotonic() - began
        said = f"it was stopped{stop}"
        outcome = Outcome(
            uid=order.uid, state="stopped", seconds=seconds, reason="stopped", said=said
        )
    write_whole(place / RESULT, outcome.to_json())
    if outcome.state in ("finished", "pruned"):
        return 0
    return outcome.code or 1


def _failed(order: Order, began: float, reason: str, said: str, code: int | None = None) -> Outcome:
    seconds = time.monotonic() - began
    return Outcome(
        uid=order.uid, state="failed", seconds=seconds, reason=reason, said=said, code=code
    )


def _exited(error: SystemExit) -> tuple[str, str, int]:
    """Return reason, sentence and code of a training that left Python, which no training should."""
    if error.code in (None, 0):
        return "exception", "the training called sys.exit() before it had a result", 0
    code = error.code if isinstance(error.code, int) else 1
    return "killed", f"the training called sys.exit({error.code!r})", code


def _reason(error: BaseException) -> str:
    """Return in one word why a training failed."""
    if lacked_memory(error):
        return "memory"
    if isinstance(error.__cause__, ChildProcessError):  # one of several that train together
        return "killed"
    return "config" if isinstance(error, (BrokenPluginError, ConfigError)) else "exception"
