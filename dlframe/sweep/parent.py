"""The parent run of a study: it groups the trials' runs in MLflow and holds what came out of them."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna

from dlframe.analysis.goals import MODE, PRIMARY
from dlframe.analysis.multirun import await_delivery
from dlframe.analysis.remote import MULTIRUN_TAG
from dlframe.errors import RunTakenError, sentence
from dlframe.sweep.definition import Chosen, Definition
from dlframe.sweep.goals import sign_of
from dlframe.sweep.note import note
from dlframe.sweep.pace import busy_seconds, utilisation
from dlframe.sweep.plots import FIGURES, export
from dlframe.sweep.repetitions import differing
from dlframe.sweep.snapshot import Snapshot, snapshot
from dlframe.sweep.space_words import describe
from dlframe.tracking import names
from dlframe.tracking.code_state import code_state
from dlframe.tracking.provenance import provenance_tags
from dlframe.tracking.recorder import Recorder, Status
from dlframe.tracking.redaction import redacted_values, without_credentials
from dlframe.tracking.runs import BROKEN, unreadable
from dlframe.tracking.spool import FILE, RunInfo, Spool

__all__ = ["FOLDER", "Parent"]

FOLDER = "study"
"""Where the results lie, in the run's folder and among its artifacts."""
_NOTE = "mlflow.note.content"


class Parent:
    """The parent run of a study, from before the first trial of a command until after its last.

    A command that goes on with a study goes on with its run. While another command is at work on the
    same study, that one records the run; whichever ends last records how the study stands then.

    Args:
        definition: of the study.
        tracking: where its first trial is recorded.
        command: the command line, for the record.
        uid: id of the study's run, if it has one already.
        storage: address of the study.

    Attributes:
        id: the run's own id, which the trials' runs name as their parent.

    Raises:
        StorageError: it cannot be recorded.
    """

    def __init__(
        self,
        definition: Definition,
        tracking: Mapping[str, Any],
        command: Sequence[str],
        uid: str | None = None,
        *,
        storage: str | None = None,
    ) -> None:
        self._definition, self._tracking, self._command = definition, tracking, command
        self._storage = storage
        self._began = time.time_ns() // 1_000_000
        self._jobs: list[Path] = []
        self._recorder = self._open(uid)
        assert self._recorder is not None or uid is not None
        self.id = uid or (self._recorder.uid if self._recorder else "")

    def _open(self, uid: str | None) -> Recorder | None:
        """Open the run; None while another command records it."""
        tracking = self._tracking
        try:
            recorder = Recorder(
                Path(tracking["root"]),
                uri=tracking["uri"],
                experiment=tracking["experiment"],
                run_name=self._definition.name,
                uid=uid,
                group=True,
                offline=tracking["offline"],
            )
        except RunTakenError:
            return None
        code = code_state(Path.cwd(), apart_from=recorder.root)
        recorder.tags(
            {
                **provenance_tags(self._command),
                **(code.tags() if code else {}),
                **_tags(self._definition, self._storage),
                **(tracking["tags"] or {}),
            }
        )
        return recorder

    def finish(self, status: Status, error: str | None, study: optuna.Study) -> None:
        """Record what came out of the study, and close the run.

        The same files are written into the study's own folder.

        Args:
            status: how the command ended.
            error: what went wrong, in one sentence.
            study: the study.
        """
        recorder = self._recorder or self._open(self.id)
        self._recorder = recorder
        try:
            found = snapshot(study)
            if recorder is None:
                export(found, found.folder)
                return
            self._record(recorder, found, status, error)
        except KeyboardInterrupt:
            if recorder is not None:
                recorder.finish("KILLED")
            raise
        except Exception as problem:
            said = f"the study's results could not be recorded: {sentence(problem)}"
            if recorder is not None:
                recorder.finish("FAILED" if status == "FINISHED" else status, error or said)
            if status == "FINISHED":
                raise
            print(f"dlframe: {said}", file=sys.stderr)  # what ended the command counts for more
            return
        recorder.finish(status, error)

    def wait(self) -> str | None:
        """Wait until this run and those of the command's trials are delivered, as the config says.

        Returns:
            What the user should know of it, such as a backlog.
        """
        if self._recorder is None:
            return f"another command is at work on the study and records its run {self.id}"
        return await_delivery(self._recorder, self._jobs, self._tracking)

    def _record(
        self, recorder: Recorder, found: Snapshot, status: Status, error: str | None
    ) -> None:
        folder = recorder.folder / FOLDER
        for path in export(found, folder):
            inside = f"{FOLDER}/{FIGURES}" if path.parent.name == FIGURES else FOLDER
            recorder.artifact(path, inside)
        if folder != found.folder:
            shutil.copytree(folder, found.folder, dirs_exist_ok=True)
        odd: list[str] = []
        runs = list(_children(recorder.root, self.id, odd))
        self._jobs = [place for place, info, _ in runs if info.created >= self._began]
        recorder.params(_common(found.definition, [params for _, _, params in runs]))
        recorder.metrics(_metrics(found), found.numbers.done)
        told = note(
            found, status=status, error=error, command=self._command, storage=self._storage, odd=odd
        )
        recorder.tags({_NOTE: told})


def _tags(definition: Definition, storage: str | None) -> dict[str, str]:
    """Say what kind of study it is."""
    lines = [
        f"{name}: {values}{f' (where {when})' if when else ''}"
        for name, values, when in describe(definition.space)
    ]
    tags = {
        MULTIRUN_TAG: ", ".join(own.name for own in definition.space),
        "dlframe.study": definition.name,
        "dlframe.study.goals": ", ".join(f"{g.direction} {g.metric}" for g in definition.goals),
        "dlframe.study.sampler": _chosen(definition.sampler),
        "dlframe.study.pruner": _chosen(definition.pruner) if definition.pruner else "none",
        "dlframe.study.space": "\n".join(lines),
    }
    if definition.constraints:
        tags["dlframe.study.constraints"] = ", ".join(definition.constraints)
    if storage is not None:
        tags["dlframe.study.storage"] = without_credentials(storage)
    if len(definition.goals) == 1:
        [goal] = definition.goals
        tags |= {PRIMARY: goal.metric, MODE: "min" if sign_of(goal) > 0 else "max"}
    return tags


def _chosen(part: Chosen) -> str:
    options = redacted_values(part.options)
    return " ".join([part.component, *(f"{name}={value}" for name, value in options.items())])


def _children(
    root: Path, parent: str, odd: list[str]
) -> Iterator[tuple[Path, RunInfo, dict[str, str]]]:
    """Yield folder, origin and parameters of each run of the study; say what cannot be read."""
    for path in sorted(root.glob(f"*/{FILE}")):
        try:
            with closing(Spool(path.parent)) as spool:
                info = spool.info()
                if info.parent != parent:
                    continue
                params: dict[str, str] = {}
                for record in spool.of_kinds("params"):
                    fresh = record.body["values"].items()
                    params = {key: names.text(value) for key, value in fresh} | params
        except BROKEN as error:
            odd.append(unreadable(path.parent, error))
            continue
        yield path.parent, info, params


def _common(definition: Definition, runs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the parameters that all trials share.

    What is searched is none of them, although the first trials may agree on it: in MLflow a parameter
    stays as it is first.
    """
    if not runs:
        return {}
    searched = {own.key.lstrip("+") for own in definition.space}
    searched |= differing(definition)

    def is_free(key: str) -> bool:
        return any(key == own or key.startswith(f"{own}.") for own in searched)

    first = runs[0]
    return {
        key: value
        for key, value in first.items()
        if not is_free(key) and all(run.get(key) == value for run in runs)
    }


def _metrics(found: Snapshot) -> dict[str, float]:
    numbers, goals = found.numbers, found.definition.goals
    states = ("complete", "pruned", "failed", "retried")
    values = {f"study/{name}": float(getattr(numbers, name)) for name in states}
    values["cost/seconds"] = busy_seconds(found)
    if (used := utilisation(found)) is not None:
        values["study/utilisation"] = used
    for place, goal in enumerate(goals if found.best else ()):
        # Of several goals each one's best, which no single trial may have.
        best = min(sign_of(goal) * (trial.values or [])[place] for trial in found.best)
        name = "study/best_value" if len(goals) == 1 else f"study/best_value/{goal.metric}"
        values[name] = sign_of(goal) * best
    return values
