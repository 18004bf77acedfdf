"""The parent run of a study, in MLflow's default store: what came out of it is there."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_support import LOSS, defined, made, searched, trial

from dlframe.sweep.definition import Definition, Goal
from dlframe.sweep.marks import DEFINITION
from dlframe.sweep.note import note
from dlframe.sweep.parent import Parent
from dlframe.sweep.snapshot import snapshot
from dlframe.tracking.launch import LOCK
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import FILE

# SQLAlchemy deprecates something that MLflow still uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

COMMAND = ["dlframe", "train", "sweep=tpe", "optimizer=adam,sgd", "data.password=hunter22"]
HOLD = """
import sys
from pathlib import Path
from dlframe.tracking.recorder import Recorder

recorder = Recorder(
    Path(sys.argv[1]), uri=None, experiment="e", run_name="study", uid=sys.argv[2], group=True,
    deliver=False,
)
print("recording", flush=True)
sys.stdin.read()
recorder.finish("FINISHED")
"""


def tracking(root: Path, **more: Any) -> dict[str, Any]:
    usual = {"root": str(root), "uri": None, "experiment": "e", "offline": False, "wait": 200.0,
             "tags": {"who": "me"}, "run_name": None, "enabled": True}  # fmt: skip
    return usual | more


def child(root: Path, parent: str, **params: Any) -> str:
    """Record a trial's run."""
    recorder = Recorder(root, uri=None, experiment="e", run_name="mlp", parent=parent)
    recorder.params({"data": "iris", "architecture": "mlp", "seed": 0, **params})
    recorder.finish("FINISHED")
    return recorder.uid


def parent_of(study: optuna.Study, root: Path, uid: str | None = None, **more: Any) -> Parent:
    definition = Definition.from_json(study.user_attrs[DEFINITION])
    return Parent(definition, tracking(root, **more), COMMAND, uid)


class Recorded:
    """A study whose parent run was closed by one command, and again by the next."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = searched(root)
        first = Parent(
            Definition.from_json(self.study.user_attrs[DEFINITION]), tracking(root), COMMAND,
            storage="postgresql://me:hunter22@host/base",
        )  # fmt: skip
        self.uid = first.id
        self.children = [child(root, self.uid, optimizer="adam", **{"optimizer.lr": 0.1})]
        first.finish("KILLED", "stopped by Ctrl-C", self.study)
        self.note_before = self.about_in_folder()
        self.study.add_trial(trial(values=0.01, params={"optimizer": "sgd"}, begins=500.0))
        second = parent_of(self.study, root, self.uid)
        assert second.id == self.uid
        self.children.append(child(root, self.uid, optimizer="adam", **{"optimizer.lr": 0.1}))
        second.finish("FINISHED", None, self.study)
        self.said = second.wait()

    def about_in_folder(self) -> str:
        return (self.root / self.uid / "study" / "best.yaml").read_text()

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.root / "mlflow.db")) as store:
            return store.execute(query).fetchall()

    def about(self, table: str, uid: str | None = None) -> dict[str, Any]:
        """Keys and values that MLflow holds of the parent, or of another run."""
        own = f"SELECT run_uuid FROM tags WHERE key = 'dlframe.run_uid' AND value = '{uid or self.uid}'"
        return dict(self.sql(f"SELECT key, value FROM {table} WHERE run_uuid = ({own})"))

    def info(self) -> tuple[str, str, str]:
        """Name, status and folder of the artifacts."""
        own = f"SELECT run_uuid FROM tags WHERE key = 'dlframe.run_uid' AND value = '{self.uid}'"
        [found] = self.sql(f"SELECT name, status, artifact_uri FROM runs WHERE run_uuid = ({own})")
        return found


def end_delivery(root: Path) -> None:
    lock = root / LOCK
    text = lock.read_text().strip() if lock.exists() else ""
    if text and str(root) in Path(f"/proc/{text}/cmdline").read_text():
        subprocess.run(["kill", "-9", text], check=False)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    root = tmp_path_factory.mktemp("recorded") / "runs"
    yield Recorded(root)
    end_delivery(root)


# --- what MLflow holds ----------------------------------------------------------------------------


def test_the_run_stands_for_the_study(recorded: Recorded) -> None:
    assert recorded.said is None, "all is delivered"
    assert recorded.info()[:2] == ("study", "FINISHED")
    tags = recorded.about("tags")
    assert tags["dlframe.study"] == "study"
    assert tags["dlframe.study.goals"] == "minimize val/loss"
    assert tags["dlframe.study.sampler"] == "dlframe/tpe"
    assert tags["dlframe.study.pruner"] == "dlframe/median"
    assert tags["dlframe.study.storage"] == "postgresql://host/base"
    lines = tags["dlframe.study.space"].splitlines()
    assert lines[2] == "optimizer.lr: 1e-4 to 0.1, log"
    assert lines[4] == "optimizer.momentum: 0 to 0.99 (where optimizer is sgd)"
    assert (tags["dlframe.primary_metric"], tags["dlframe.primary_mode"]) == ("val/loss", "min")
    assert tags["who"] == "me"
    assert tags["mlflow.source.name"].startswith("dlframe train sweep=tpe optimizer=adam,sgd")
    assert not [value for value in tags.values() if "hunter22" in value]


def test_the_trials_runs_are_its_children(recorded: Recorded) -> None:
    own = recorded.sql(
        f"SELECT run_uuid FROM tags WHERE key = 'dlframe.run_uid' AND value = '{recorded.uid}'"
    )
    for uid in recorded.children:
        assert recorded.about("tags", uid)["mlflow.parentRunId"] == own[0][0]


def test_its_metrics_say_how_the_study_stands(recorded: Recorded) -> None:
    found = snapshot(recorded.study)
    metrics = recorded.about("latest_metrics")
    assert metrics["study/best_value"] == 0.01, "it is that of the second command"
    assert metrics["study/complete"] == found.numbers.complete
    assert metrics["study/pruned"] == found.numbers.pruned
    assert (metrics["study/failed"], metrics["study/retried"]) == (2, 2)
    assert 0 < metrics["study/utilisation"] < 1
    assert metrics["cost/seconds"] == pytest.approx(
        sum(each.duration.total_seconds() for each in found.trials if each.duration)
    )


def test_its_parameters_are_those_that_no_trial_changes(recorded: Recorded) -> None:
    params = recorded.about("params")
    assert params["data"] == "iris"
    # Both runs chose adam; the next one may choose otherwise.
    assert {"optimizer", "optimizer.lr"}.isdisjoint(params)


def test_the_results_are_its_artifacts(recorded: Recorded) -> None:
    artifacts = Path(recorded.info()[2].removeprefix("file://"))
    names = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    assert names >= {
        "study/best.yaml", "study/trials.csv", "study/failures.md", "study/importances.json",
        "study/report.html", "study/figures/history.png", "study/figures/timeline.png",
    }  # fmt: skip
    assert "trial: 42" in (artifacts / "study" / "best.yaml").read_text()
    assert "trial: 42" not in recorded.note_before
    beside = snapshot(recorded.study).folder
    for name in ("best.yaml", "report.html", "figures/history.png"):
        assert (beside / name).read_bytes() == (artifacts / "study" / name).read_bytes()


def test_the_note_says_what_came_out_and_how_to_go_on(recorded: Recorded) -> None:
    text = recorded.about("tags")["mlflow.note.content"]
    for said in (
        "**Finished** with 40 of 40 trials done: 19 complete",
        "| val/loss (smaller is better) | 0.01 |",
        "| optimizer | sgd |", f"dlframe study best study --root {recorded.root} --command",
        "**Go on**: the same command with a larger n_trials", "dlframe train sweep=tpe",
        f"dlframe study retry study --root {recorded.root}", "study/report.html",
    ):  # fmt: skip
        assert said in text, said
    assert "hunter22" not in text


# --- how it may end -------------------------------------------------------------------------------


def test_a_note_is_never_too_long(tmp_path: Path) -> None:
    goals = (LOSS, Goal("cost/parameters", "minimize"))
    params = {"optimizer.lr": 0.001, "data.batch_size": 64, "regularizer": "[l2,dropout]"}
    trials = [trial(values=(i, 300 - i), params=params, uid=f"{i:024}") for i in range(300)]
    found = snapshot(made(tmp_path, trials, goals=goals))
    words = ["dlframe", "train", f"tracking.run_name={'x' * 9000}"]
    text = note(found, status="FAILED", error="it broke " * 900, command=words)
    assert "**Failed** with" in text
    assert "288 more: artifact `study/pareto.yaml`" in text
    assert "(whole in the tag dlframe.command)" in text
    assert "dlframe study export study" in text
    assert len(text) < 8000
    odd = [f"folder {i} cannot be read" for i in range(900)]
    text = note(found, status="FAILED", error=None, command=COMMAND, odd=odd)
    assert text.endswith("The rest is in the artifact.\n")
    assert len(text) < 8000


def tags_of(root: Path, uid: str) -> dict[str, str]:
    from dlframe.analysis.runs import read_local

    return dict(read_local(root / uid).tags)


def status_of(root: Path, uid: str) -> str:
    from dlframe.analysis.runs import read_local

    return read_local(root / uid).status


def test_a_study_of_which_nothing_completed_has_a_run_too(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    study = made(root, [trial(TrialState.FAIL, reason="exception", said="it broke")])
    parent = parent_of(study, root, offline=True)
    parent.finish("FAILED", "it broke", study)
    assert parent.wait() is None, "offline, nothing is waited for"
    assert status_of(root, parent.id) == "FAILED"
    assert "1 failed (1 exception)" in tags_of(root, parent.id)["mlflow.note.content"]


def test_what_cannot_be_made_leaves_no_run_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    study = made(root, [trial(values=1.0)])
    study.set_user_attr(DEFINITION, "damaged")
    parent = Parent(defined(root=str(root)), tracking(root, offline=True), COMMAND)
    with pytest.raises(ValueError, match="definition cannot be read"):
        parent.finish("FINISHED", None, study)
    assert status_of(root, parent.id) == "FAILED"
    stopped = Parent(defined(root=str(root)), tracking(root, offline=True), COMMAND)
    stopped.finish("KILLED", "stopped", study)  # what stopped it is raised by who calls this
    assert status_of(root, stopped.id) == "KILLED"
    assert "definition cannot be read" in capsys.readouterr().err


def test_a_damaged_run_of_a_trial_hides_nothing(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    study = made(root, [trial(values=1.0)])
    parent = parent_of(study, root, offline=True)
    (root / "broken").mkdir()
    (root / "broken" / FILE).write_bytes(b"no database" * 500)
    parent.finish("FINISHED", None, study)
    assert status_of(root, parent.id) == "FINISHED"
    assert "broken" in tags_of(root, parent.id)["mlflow.note.content"]


def test_two_commands_at_work_on_one_study_have_one_run(tmp_path: Path) -> None:
    """The first one's process is there still; its run is recorded by whichever ends last."""
    root, uid = tmp_path / "runs", "20261121-120000-abcdefgh"
    study = made(root, [trial(values=1.0)])
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), uid], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert first.stdout is not None
    assert first.stdout.readline() == "recording\n"
    try:
        with (
            ThreadPoolExecutor() as pool
        ):  # each waits for a while, as the first might just be ending
            second, third = pool.map(lambda _: parent_of(study, root, uid, offline=True), range(2))
        assert (second.id, third.id) == (uid, uid)
        second.finish("FINISHED", None, study)
        assert f"records its run {uid}" in str(second.wait())
        assert (snapshot(study).folder / "report.html").is_file(), (
            "the files are there all the same"
        )
    finally:
        first.communicate("")
    third.finish("FINISHED", None, study)
    assert third.wait() is None
    assert "1 complete" in tags_of(root, uid)["mlflow.note.content"]
    assert status_of(root, uid) == "FINISHED"
