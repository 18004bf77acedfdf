"""A study while it is at work: a table on a terminal, else a line for each trial that has ended."""

import json
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from dlframe.errors import sentence
from dlframe.sweep import rows
from dlframe.sweep.marks import SAID, reason
from dlframe.sweep.pace import pace, seconds, told
from dlframe.sweep.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

__all__ = ["Watch", "line"]

_EVERY = 1.0
_SHOWN = 8
_WIDEST = 60


class Watch:
    """Shows how a study gets on, on standard error, for as long as it is entered.

    Args:
        study: the study; a second door to its storage, since the workers are busy with theirs.
        as_json: print each trial that ends as a line of JSON on standard output instead.
    """

    def __init__(self, study: optuna.Study, *, as_json: bool = False) -> None:
        self._study, self._as_json = study, as_json
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dlframe-watch", daemon=True)
        self._live: Live | None = None
        self._said = ""
        self._known = {t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()}

    def __enter__(self) -> "Watch":
        """Begin to watch."""
        if not self._as_json and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show what has ended since, and take the table away."""
        self._stop.set()
        self._thread.join()
        self._look()
        if self._live is not None:
            self._live.stop()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        try:
            found = snapshot(self._study)
        except Exception as error:  # the workers notice it too, and what they do about it counts
            said = f"dlframe: the study cannot be shown: {sentence(error)}"
            if said != self._said:
                print(said, file=sys.stderr)
            self._said = said
            return
        if self._live is not None:
            self._live.update(_table(found), refresh=True)
            return
        for trial in found.trials:
            if trial.state.is_finished() and trial.number not in self._known:
                self._known.add(trial.number)
                if self._as_json:
                    print(json.dumps(rows.row(found, trial)), flush=True)
                else:
                    print(line(trial, found), file=sys.stderr, flush=True)


def line(trial: FrozenTrial, found: Snapshot) -> str:
    """Return what there is to say of a trial that has ended."""
    how = str(found.standings.get(trial.number, trial.state.name.lower()))
    goals = found.definition.goals
    if trial.values is not None:
        result = ", ".join(
            f"{goal.metric} {value:.5g}" for goal, value in zip(goals, trial.values, strict=False)
        )
    else:
        result = str(trial.user_attrs.get(SAID, ""))
    numbers, most = found.numbers, found.definition.stops.n_trials
    so_far = f"{numbers.done}/{most}" if most is not None else f"{numbers.done}"
    return f"trial {trial.number:<4} {how:<9} {result}  [{so_far}{_best(found)}]"


def _best(found: Snapshot) -> str:
    if len(found.definition.goals) > 1 or not found.best:
        return ""
    best = found.best[0]
    assert best.values is not None
    return f", best {best.values[0]:.5g} in trial {best.number}"


def _table(found: Snapshot) -> "RenderableType":
    from rich.table import Table

    numbers, speed, most = found.numbers, pace(found), found.definition.stops.n_trials
    words = [f"{numbers.done}/{most} trials" if most is not None else f"{numbers.done} trials"]
    words += [f"{numbers.pruned} pruned"] if numbers.pruned else []
    words += [f"{numbers.failed} failed"] if numbers.failed else []
    words += [f"{speed.running} running"]
    words += [f"about {told(speed.left)} left"] if speed.left is not None else []
    table = Table(
        title=f"study {found.name}: {', '.join(words)}{_best(found)}", title_justify="left"
    )
    for name in ("trial", "state", "result", "values", "time"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    running = found.of("running")
    ended = [trial for trial in found.trials if trial.state.is_finished()]
    ended.sort(key=lambda trial: trial.datetime_complete or found.taken, reverse=True)
    for trial in [*running, *ended][: max(_SHOWN, len(running))]:
        took = seconds(trial, found.taken)
        table.add_row(
            str(trial.number),
            str(found.standings.get(trial.number, trial.state.name.lower())),
            _result(trial),
            rows.short(found, trial)[:_WIDEST],
            "" if took is None else told(took),
        )
    return table


def _result(trial: FrozenTrial) -> str:
    if trial.values is not None:
        return " ".join(f"{value:.5g}" for value in trial.values)
    if trial.intermediate_values:
        step = max(trial.intermediate_values)
        return f"{trial.intermediate_values[step]:.5g} after {step}"
    return str(reason(trial) or "")
