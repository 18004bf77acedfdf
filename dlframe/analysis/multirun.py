"""The parent run of several: it groups them in MLflow and holds what their comparison says."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlframe.analysis.comparison import Comparison, compare
from dlframe.analysis.export import tests_to_csv, to_csv, to_plain
from dlframe.analysis.goals import MODE, PRIMARY, headline, watched
from dlframe.analysis.independent import FOLD, HOW, SEED
from dlframe.analysis.remote import MULTIRUN_TAG
from dlframe.analysis.report import report
from dlframe.analysis.runs import RunData, read_children
from dlframe.analysis.select import COMPARED
from dlframe.analysis.tables import groups_table, pairs_table, runs_line
from dlframe.errors import sentence
from dlframe.tracking.backlog import Backlog
from dlframe.tracking.code_state import code_state
from dlframe.tracking.progress import still_on_their_way
from dlframe.tracking.provenance import provenance_tags
from dlframe.tracking.recorder import Recorder, Status
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.sync import wait

__all__ = ["FOLDER", "Multirun", "await_delivery", "record"]

FOLDER = "comparison"
"""Where the comparison lies, in the run's folder and among its artifacts."""
_REPORT = "report.html"
_NOTE = "mlflow.note.content"
_LONGEST_NOTE = 7500
_MOST_AGGREGATES = 40
_WAIT = 60.0
_LASTING = ("FINISHED", "FAILED", "KILLED")


class Multirun:
    """The parent run of a multirun, from before its first job until after its last.

    Args:
        config: the first job's config: its architecture and data give the name.
        tracking: where the first job is recorded.
        swept: the keys that differ between jobs.
        command: the command line, for the record.

    Attributes:
        id: the run's own id, which its jobs name as their parent.
        status: how it ended; None before.
        comparison: what it ended with; None if no job came as far as to be recorded.
        report: where the page lies that shows the comparison, once it is made.

    Raises:
        StorageError: it cannot be recorded.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tracking: Mapping[str, Any],
        swept: Sequence[str],
        command: Sequence[str],
    ) -> None:
        self._command, self._tracking, self._swept = command, tracking, swept
        parts = "-".join(
            str(config[kind]["component"]).rpartition("/")[2] for kind in ("architecture", "data")
        )
        self._name = f"{tracking['run_name'] or parts} by {', '.join(swept) or 'nothing'}"
        self._recorder = Recorder(
            Path(tracking["root"]),
            uri=tracking["uri"],
            experiment=tracking["experiment"],
            run_name=self._name,
            group=True,
            offline=tracking["offline"],
        )
        self.id = self._recorder.uid
        self.report = self._recorder.folder / FOLDER / _REPORT
        code = code_state(Path.cwd(), apart_from=self._recorder.root)
        self._recorder.tags(
            {
                **provenance_tags(command),
                **(code.tags() if code else {}),
                MULTIRUN_TAG: ", ".join(swept),
                **(tracking["tags"] or {}),
            }
        )
        self.status: Status | None = None
        self.comparison: Comparison | None = None
        self._began = time.monotonic()
        self._jobs: list[Path] = []

    @contextmanager
    def around(self) -> Iterator[None]:
        """Compare the runs of the jobs that are trained within, and close the run."""
        status: Status = "FAILED"
        said = None
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except Exception as error:
            said = sentence(error)
            raise
        finally:
            self._finish(status, said)

    def _finish(self, status: Status, error: str | None) -> None:
        try:
            runs, odd = read_children(self._recorder.root, self.id)
            comparison = None
            if runs:
                comparison = compare(runs, by=self._by(runs), metrics=_metrics(runs), notes=odd)
            if comparison is not None:
                _store(self._recorder, comparison, self._name, self._command)
            self._recorder.metrics({"cost/seconds": time.monotonic() - self._began}, 0)
        except KeyboardInterrupt:
            self._recorder.finish("KILLED")
            raise
        except BaseException as problem:
            self._recorder.finish("FAILED", f"the comparison could not be made: {problem!r}")
            raise
        self._recorder.finish(status, error)
        self._jobs = [run.folder for run in runs if run.folder is not None]
        self.status, self.comparison = status, comparison

    def _by(self, runs: Sequence[RunData]) -> list[str] | None:
        """Return the keys to group by, where what was swept would not be grouped by unasked."""
        if HOW.isdisjoint(self._swept):
            return None
        known = {key for run in runs for key in run.params}
        return [key for key in self._swept if key in known and key not in (SEED, FOLD)]

    def wait(self) -> str | None:
        """Wait until this run and its jobs are delivered, as long as the config says.

        Returns:
            What the user should know of it, such as a backlog.
        """
        return await_delivery(self._recorder, self._jobs, self._tracking)


def await_delivery(
    recorder: Recorder, jobs: Sequence[Path], tracking: Mapping[str, Any]
) -> str | None:
    """Wait until a parent run and its jobs are delivered, as long as the config says.

    Args:
        recorder: the parent's.
        jobs: folders of the jobs' runs.
        tracking: where they are recorded, and how long to wait.

    Returns:
        What the user should know of it, such as a backlog.
    """
    if tracking["offline"]:
        return None
    with Backlog() as backlog:
        states = wait(
            [recorder.folder, *jobs], tracking["wait"], backlog.show, most=tracking["wait"]
        )
    left = sum(state.backlog for state in states.values())
    errors = [state.error for state in states.values() if state.error is not None]
    return errors[0] if errors else still_on_their_way(left, recorder.uri)


def record(
    comparison: Comparison,
    parent: RunData | None,
    root: Path,
    uri: str | None,
    words: Sequence[str],
) -> dict[str, str | None]:
    """Store a comparison on the multirun that it is of, else on a new run; say where.

    Args:
        comparison: what to store.
        parent: the multirun.
        root: folder of the runs.
        uri: the MLflow store that the runs were read from; None for the folder's own.
        words: the command line, for the record.

    Raises:
        StorageError: it cannot be recorded, or the multirun is still at work.
    """
    experiments = {run.experiment for run in comparison.runs}
    heading = f"comparison by {', '.join(comparison.grouping.by) or 'seed'}"
    recorder = Recorder(
        root,
        uri=uri,
        experiment=parent.experiment if parent else min(experiments),
        run_name=parent.name if parent else heading,
        uid=parent.id if parent else None,
        group=True,
    )
    if parent is None:
        ids = " ".join(run.id for run in comparison.runs)
        recorder.tags({**provenance_tags(words), MULTIRUN_TAG: "compared", COMPARED: ids})
    try:
        _store(recorder, comparison, parent.name if parent else heading, words)
    except BaseException as problem:
        recorder.finish("FAILED", f"the comparison could not be made: {problem!r}")
        raise
    before = parent.status if parent else "FINISHED"
    recorder.finish("KILLED" if before not in _LASTING else before)  # type: ignore[arg-type]
    delivery = recorder.wait(_WAIT)
    return {
        "run": recorder.uid,
        "folder": str(recorder.folder / FOLDER),
        "tracking_uri": without_credentials(delivery.tracking_uri),
        "mlflow_run_id": delivery.mlflow_run_id,
    }


def _metrics(runs: Sequence[RunData]) -> list[str]:
    """The metric that says most, the test loss, and what chose the weights, as far as there are any."""
    finished = [run for run in runs if run.status == "FINISHED"]
    stem = (watched(finished) or "val/loss").replace("/", "_")
    known = {name for run in finished for name in run.metrics}
    wanted = [*headline(finished), "test/loss", f"best/{stem}"]
    return [name for name in dict.fromkeys(wanted) if name in known]


def _store(recorder: Recorder, comparison: Comparison, heading: str, words: Sequence[str]) -> None:
    folder = recorder.folder / FOLDER
    folder.mkdir(exist_ok=True)
    files = {
        _REPORT: report(comparison, words=words, heading=heading),
        "comparison.json": json.dumps(to_plain(comparison), indent=1),
        "groups.csv": to_csv(comparison),
        "tests.csv": tests_to_csv(comparison),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        recorder.artifact(folder / name, FOLDER)
    recorder.params(_common(comparison.runs))
    recorder.metrics(_aggregates(comparison), 0)
    tags: dict[str, str] = {_NOTE: _note(comparison)}
    for tag in (PRIMARY, MODE):
        values = {run.tags.get(tag) for run in comparison.runs}
        if len(values) == 1 and (value := values.pop()) is not None:
            tags[tag] = value
    recorder.tags(tags)


def _common(runs: Sequence[RunData]) -> dict[str, str]:
    """The parameters that all runs share."""
    first = runs[0].params
    return {k: v for k, v in first.items() if all(run.params.get(k) == v for run in runs)}


def _aggregates(comparison: Comparison) -> dict[str, float]:
    """The groups' numbers as metrics; the best alone where MLflow would show too many."""
    found: dict[str, float] = {}
    states = [run.status for run in comparison.runs]
    found |= {f"runs/{state.lower()}": float(states.count(state)) for state in set(states)}
    groups = comparison.grouping.groups
    most = max(1, _MOST_AGGREGATES // max(1, len(groups)))
    for metric in comparison.metrics[:most]:
        if metric.best is not None:
            found[f"best_run/{metric.metric}"] = metric.best[1]
        for group in groups[:_MOST_AGGREGATES]:
            summary = metric.summaries[group.label]
            values = {
                "mean": summary.mean, "std": summary.std, "low": summary.low, "high": summary.high,
                "n": float(summary.n),
            }  # fmt: skip
            key = f"{group.label.replace('=', ':').replace(',', '')}/{metric.metric}"
            found |= {f"{key}/{name}": v for name, v in values.items() if v is not None}
    return found


def _note(comparison: Comparison) -> str:
    """The tables as Markdown, which MLflow shows under the run's name; as many as it takes."""
    text = f"Tables and figures: artifact `{FOLDER}/report.html`.\n"
    for metric in comparison.metrics:
        parts = [f"**{metric.metric}**", groups_table(comparison, metric).markdown()]
        parts += [line] if (line := runs_line(metric)) else []
        parts += [pairs_table(comparison, metric).markdown()] if metric.pairs else []
        for part in parts:
            if len(text) + len(part) > _LONGEST_NOTE:
                return f"{text}\nThe rest is in the artifact.\n"
            text += f"\n{part}\n"
    return text + "".join(f"\n- {note}" for note in comparison.notes)[:_LONGEST_NOTE]
