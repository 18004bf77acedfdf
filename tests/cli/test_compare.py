"""A multirun's parent and ``dlframe compare``, on real runs: what MLflow holds, and what is printed."""

import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_support import (
    COMMAND,
    PATIENT,
    end_delivery,
    environment,
    one_sentence,
    recorded,
    runs_in,
    status_of,
)
from scipy import stats

from dlframe.cli.main import main
from dlframe.tracking.spool import FILE

# SQLAlchemy deprecates something that MLflow still uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
TINY = (
    "data=iris", "data.batch_size=16", "trainer.max_epochs=2", "tracking.log_model=false",
    "tracking.figures=false",
    "trainer.checkpoint=false", PATIENT,
)  # fmt: skip
CHILDREN = (
    "SELECT uid.value FROM tags uid JOIN tags nested ON uid.run_uuid = nested.run_uuid AND "
    "nested.key = 'mlflow.parentRunId' AND nested.value = "
    "(SELECT run_uuid FROM tags WHERE key = 'dlframe.run_uid' AND value = '{}') "
    "WHERE uid.key = 'dlframe.run_uid'"
)


@dataclass
class Swept:
    """A multirun that the command line trained: two activations, three seeds."""

    place: Path
    jobs: list[dict[str, Any]]

    @property
    def root(self) -> Path:
        return self.place / "runs"

    @property
    def parent(self) -> str:
        return str(self.jobs[0]["parent"])

    def values(self, metric: str) -> dict[str, dict[int, float]]:
        """What MLflow holds of each run, by activation and seed."""
        found: dict[str, dict[int, float]] = {}
        for activation, seed, value in recorded(
            self.root,
            "SELECT a.value, s.value, m.value FROM params a JOIN params s ON a.run_uuid = s.run_uuid "
            "AND a.key = 'activation' AND s.key = 'seed' JOIN latest_metrics m ON m.run_uuid = "
            f"a.run_uuid AND m.key = '{metric}'",
        ):
            found.setdefault(activation, {})[int(seed)] = value
        return found

    def about(self, table: str, uid: str | None = None) -> dict[str, Any]:
        """Keys and values that MLflow holds of the parent, or of another run."""
        rows = recorded(
            self.root,
            f"SELECT key, value FROM {table} WHERE run_uuid = (SELECT run_uuid FROM tags WHERE key = "
            f"'dlframe.run_uid' AND value = '{uid or self.parent}')",
        )
        return dict(rows)


def command(cwd: Path, *words: str) -> tuple[int, str, str]:
    """Run a command in this process, which spares it the imports; return code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    place = tmp_path_factory.mktemp("swept")
    code, out, err = command(
        place, "train", "-m", "activation=relu,tanh", "seed=range(1,4)", *TINY, "--json"
    )
    assert (code, err) == (0, "")
    yield Swept(place, [json.loads(line) for line in out.splitlines()])
    end_delivery(place / "runs")


def compared(place: Path, *words: str) -> Any:
    code, out, err = command(place, "compare", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


# --- the parent run -------------------------------------------------------------------------------


def test_the_parent_groups_the_jobs_in_mlflow(swept: Swept) -> None:
    assert len(swept.jobs) == 6
    assert {job["parent"] for job in swept.jobs} == {swept.parent}
    assert status_of(swept.root, swept.parent) == "FINISHED"
    children = recorded(swept.root, CHILDREN.format(swept.parent))
    assert {uid for (uid,) in children} == {job["run"] for job in swept.jobs}
    tags = swept.about("tags")
    assert tags["mlflow.runName"] == "mlp-iris by activation, seed"
    assert "train -m activation=relu,tanh" in tags["mlflow.source.name"]
    assert "mlflow.parentRunId" not in tags
    params = swept.about("params")
    assert params["data"] == "iris"
    assert {"activation", "seed"}.isdisjoint(params)  # those differ


def test_the_parent_holds_the_aggregates(swept: Swept) -> None:
    metrics = swept.about("latest_metrics")
    assert metrics["runs/finished"] == 6
    for metric in ("test/accuracy", "test/loss", "best/val_accuracy"):
        for activation, by_seed in swept.values(metric).items():
            given = list(by_seed.values())
            key = f"activation:{activation}/{metric}"
            assert metrics[f"{key}/n"] == 3
            assert metrics[f"{key}/mean"] == pytest.approx(np.mean(given))
            spread = np.std(given, ddof=1)
            assert metrics[f"{key}/std"] == pytest.approx(spread)
            if spread:
                low, high = stats.t.interval(0.95, 2, np.mean(given), stats.sem(given))
                assert metrics[f"{key}/low"] == pytest.approx(low)
                assert metrics[f"{key}/high"] == pytest.approx(high)
    steps = recorded(
        swept.root, "SELECT DISTINCT step FROM metrics WHERE run_uuid = (SELECT run_uuid FROM tags "
        f"WHERE value = '{swept.parent}' AND key = 'dlframe.run_uid')",
    )  # fmt: skip
    assert steps == [(0,)]


def test_the_parent_holds_the_report(swept: Swept) -> None:
    note = swept.about("tags")["mlflow.note.content"]
    assert "| activation | n | mean | std | 95 % interval | min | max |" in note
    assert "paired t tests, runs paired by seed" in note
    [found] = (swept.root / "artifacts").glob("*/artifacts/comparison")
    assert {path.name for path in found.iterdir()} == {
        "report.html", "comparison.json", "groups.csv", "tests.csv",
    }  # fmt: skip
    page = (found / "report.html").read_text()
    assert "mlp-iris by activation, seed" in page
    assert page.count("data:image/svg+xml;base64,") >= 5
    plain = json.loads((found / "comparison.json").read_text())
    assert {run["run"] for run in plain["runs"]} == {job["run"] for job in swept.jobs}


# --- dlframe compare ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["folder", "store"])
def test_the_comparison_is_that_of_the_stored_values(swept: Swept, source: str) -> None:
    where = ["--uri", f"sqlite:///{swept.root / 'mlflow.db'}"] if source == "store" else []
    found = compared(swept.place, swept.parent, "--metric", "test/loss", *where)
    values = swept.values("test/loss")
    [metric] = found["metrics"]
    assert (metric["metric"], metric["goal"]) == ("test/loss", "min")
    assert found["by"] == ["activation"]
    for group in metric["groups"]:
        given = list(values[group["group"].removeprefix("activation=")].values())
        assert group["n"] == 3
        assert group["mean"] == pytest.approx(np.mean(given))
    [test] = metric["tests"]
    first, second = (test[key].removeprefix("activation=") for key in ("group", "against"))
    expected = stats.ttest_rel(
        [values[first][seed] for seed in (1, 2, 3)], [values[second][seed] for seed in (1, 2, 3)]
    )
    assert (test["test"], test["n"]) == ("paired t", [3])
    assert test["p"] == pytest.approx(expected.pvalue)
    best = min(v for by_seed in values.values() for v in by_seed.values())
    assert metric["best_run"]["value"] == pytest.approx(best)


def test_folder_and_store_say_the_same(swept: Swept) -> None:
    local = compared(swept.place, "last")
    store = compared(swept.place, swept.parent, "--uri", f"sqlite:///{swept.root / 'mlflow.db'}")
    assert local == store


def test_tables_files_and_filters(swept: Swept, tmp_path: Path) -> None:
    files = ("--csv", str(tmp_path / "c.csv"), "--html", str(tmp_path / "c.html"))
    code, out, err = command(swept.place, "compare", "last", "seed<3", "--baseline", "relu", *files)
    assert (code, err) == (0, "")
    assert "test/accuracy (larger is better)" in out
    assert "written to" in out
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert {(row["activation"], row["n"]) for row in rows} == {("relu", "2"), ("tanh", "2")}
    [test] = csv.DictReader((tmp_path / "c-tests.csv").read_text().splitlines())
    assert (test["group"], test["against"]) == ("activation=tanh", "activation=relu")
    assert (test["test"], test["n"]) == ("paired t", "2")
    assert float(test["p"]) == float(test["p_holm"]) > 0
    page = (tmp_path / "c.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "dlframe compare last" in page


def test_nothing_is_recorded_unasked_and_where_is_said_if_asked(swept: Swept) -> None:
    before = runs_in(swept.root)
    assert compared(swept.place, "activation=relu")["recorded"] is None
    assert runs_in(swept.root) == before
    # A group of no multirun gets a run of its own.
    where = compared(swept.place, "activation=relu", "--record")["recorded"]
    [made] = set(runs_in(swept.root)) - set(before)
    assert where["run"] == made
    assert where["tracking_uri"] == f"sqlite:///{swept.root / 'mlflow.db'}"
    assert status_of(swept.root, made) == "FINISHED"
    tags = swept.about("tags", made)
    relu = [job["run"] for job in swept.jobs if job["run"] in tags["dlframe.compared"].split()]
    assert len(relu) == 3
    assert swept.about("latest_metrics", made)["all runs/test/accuracy/n"] == 3
    # Their parent stays the multirun.
    children = recorded(swept.root, CHILDREN.format(swept.parent))
    assert {uid for (uid,) in children} == {job["run"] for job in swept.jobs}


def test_a_multiruns_comparison_is_recorded_on_it(swept: Swept) -> None:
    before = runs_in(swept.root)
    where = compared(swept.place, swept.parent, "--metric", "test/f1", "--record")["recorded"]
    assert where["run"] == swept.parent
    assert runs_in(swept.root) == before
    assert status_of(swept.root, swept.parent) == "FINISHED"
    metrics = swept.about("latest_metrics")
    given = list(swept.values("test/f1")["tanh"].values())
    assert metrics["activation:tanh/test/f1/mean"] == pytest.approx(np.mean(given))


def test_a_replay_is_no_further_result(swept: Swept) -> None:
    before = compared(swept.place, "data=iris")
    code, out, _ = command(swept.place, "replay", swept.jobs[0]["run"], "--json")
    assert code == 0
    after = compared(swept.place, "data=iris")
    assert (after["by"], after["metrics"]) == (before["by"], before["metrics"])
    assert after["notes"] == ["replays of runs that are here are left out: 1", *before["notes"]]
    named = compared(swept.place, json.loads(out)["run"])
    assert [group["n"] for group in named["metrics"][0]["groups"]] == [1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["zzzz"], "no run answers to 'zzzz'"),
        (["last", "--by", "optimizer.lrr"], "did you mean 'optimizer.lr'"),
        (
            ["last", "--metric", "test/acuracy"],
            "did you mean 'test/accuracy' or",
        ),
        (["last", "--baseline", "gelu"], "no group answers to --baseline 'gelu'"),
        (["last", "optimizer.lr>1"], "no run is selected by"),
        (["--experiment", "dlfram"], "did you mean 'dlframe'"),
        (["--root", "nowhere"], "no folder of runs is at 'nowhere'"),
        (["last", "--csv", "no/such/folder.csv"], "cannot be written"),
        (["--uri", "http://127.0.0.1:9/"], "cannot be searched for runs"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(swept: Swept, words: list[str], said: str) -> None:
    code, out, err = command(swept.place, "compare", *words)
    assert (code, out) == (1, "")
    assert said in one_sentence(err)


@pytest.mark.parametrize("words", [["test"], ["resume"], ["predict", "rows.csv"]])
def test_a_multirun_has_no_network_of_its_own(swept: Swept, words: list[str]) -> None:
    name, *rest = words
    code, out, err = command(swept.place, name, swept.parent, *rest)
    assert (code, out) == (1, "")
    assert f"'{swept.parent}' is a multirun, which has no network of its own" in one_sentence(err)


# --- how a multirun may end -----------------------------------------------------------------------


@pytest.mark.slow
def test_failed_jobs_make_the_parent_fail_and_the_others_count(tmp_path: Path) -> None:
    code, out, err = command(
        tmp_path,
        "train",
        "-m",
        "optimizer=sgd",
        "optimizer.lr=0.1,1e30",
        "seed=1,2",
        *TINY,
        "--json",
    )
    assert code == 1
    assert "2 of 4 jobs failed" in err.splitlines()[-1]
    jobs = [json.loads(line) for line in out.splitlines()]
    assert len(jobs) == 2
    parent = jobs[0]["parent"]
    assert status_of(tmp_path / "runs", parent) == "FAILED"
    told = Swept(tmp_path, jobs)
    assert told.about("latest_metrics")["runs/failed"] == 2
    assert told.about("latest_metrics")["runs/finished"] == 2
    assert "2 of 4 jobs failed" in told.about("tags")["dlframe.error"]
    assert (
        "runs without a result are left out: 2 failed" in told.about("tags")["mlflow.note.content"]
    )
    end_delivery(tmp_path / "runs")


@pytest.mark.slow
def test_a_stopped_multirun_is_killed_and_keeps_what_finished(tmp_path: Path) -> None:
    words = ("train", "-m", "seed=range(1,40)", *TINY, "--json")
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=250)
    assert process.returncode == 130
    assert "stopped" in err
    assert status_of(tmp_path / "runs", first["parent"]) == "KILLED"
    told = Swept(tmp_path, [first])
    assert told.about("latest_metrics")["runs/finished"] >= 1
    end_delivery(tmp_path / "runs")


@pytest.mark.slow
def test_a_killed_multirun_is_killed_in_mlflow_too(tmp_path: Path) -> None:
    words = ("train", "-m", "seed=range(1,40)", *TINY, "--json")
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    assert status_of(tmp_path / "runs", first["parent"]) == "KILLED"
    # What it could not do itself is done later, from the runs.
    where = compared(tmp_path, first["parent"], "--record")["recorded"]
    assert where["run"] == first["parent"]
    assert status_of(tmp_path / "runs", first["parent"]) == "KILLED"
    assert Swept(tmp_path, [first]).about("latest_metrics")["all runs/test/accuracy/n"] >= 1
    end_delivery(tmp_path / "runs")


def test_without_recording_there_is_no_parent(tmp_path: Path) -> None:
    code, out, err = command(
        tmp_path, "train", "-m", "seed=1", *TINY, "tracking.enabled=false", "--json"
    )
    assert (code, err) == (0, "")
    assert [json.loads(line)["parent"] for line in out.splitlines()] == [None]
    assert not list((tmp_path / "runs").glob(f"*/{FILE}"))


def test_a_misused_flag_records_nothing(tmp_path: Path) -> None:
    code, out, err = command(tmp_path, "train", "-m", "seed=1,2", "--cfg", "job")
    assert (code, out) == (1, "")
    assert "can be specified" in one_sentence(err)
    assert not (tmp_path / "runs").exists()
