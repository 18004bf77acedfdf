"""``dlframe ui``: MLflow's server on the right store, for this machine only, and gone afterwards."""

import json
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cli_support import COMMAND, dlframe, end_delivery, environment, one_sentence, recorded

from dlframe.cli.main import main
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.stores import meaning

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tracking root with one delivered run."""
    folder = tmp_path_factory.mktemp("place") / "runs"
    recorder = Recorder(folder, uri=None, experiment="pages", run_name="shown")
    (recorder.folder / "hello.txt").write_text("hello")
    recorder.artifact(recorder.folder / "hello.txt")
    recorder.finish("FINISHED")
    assert recorder.wait(250.0).complete
    yield folder
    end_delivery(folder)


def started(*words: str, cwd: Path, **changes: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "ui", *words], cwd=cwd, env=environment(**changes), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> None:
    """Wait until all have ended."""
    _, alive = psutil.wait_procs(processes, timeout=200)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> str:
    with OPENER.open(url, timeout=200) as reply:
        return str(reply.read().decode())


def refuses(url: str, headers: dict[str, str]) -> bool:
    """Whether the server refuses what a page of another site might send."""
    request = urllib.request.Request(url, data=b"{}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as told:
        OPENER.open(request, timeout=200)
    told.value.close()
    return told.value.code == 403


def test_the_server_shows_the_store_and_ends_with_ctrl_c(root: Path) -> None:
    # What a user has set for a server of their own must not open this one up.
    process = started(
        "--json", cwd=root.parent, MLFLOW_HOST="0.0.0.0", MLFLOW_SERVER_ALLOWED_HOSTS="*",
        MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE="true", MLFLOW_STATIC_PREFIX="/other",
        MLFLOW_BACKEND_STORE_URI="sqlite:///other.db", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="true",
        MLFLOW_DISABLE_TELEMETRY="false",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        url, children = found["url"], family(process)
        assert found["pid"] == process.pid
        [(run, experiment)] = recorded(root, "SELECT run_uuid, experiment_id FROM runs")
        assert found["run"].startswith(f"{url}/#/experiments/{experiment}/runs/{run}")
        named = json.loads(get(f"{url}/api/2.0/mlflow/runs/get?run_id={run}"))
        assert named["run"]["info"]["run_name"] == "shown"
        assert get(f"{url}/get-artifact?path=hello.txt&run_uuid={run}") == "hello"

        uid = next(path.name for path in root.iterdir() if (path / "spool.db").exists())
        shown = dlframe("runs", "show", uid, "--uri", url, "--json", cwd=root.parent)
        assert json.loads(shown.stdout)["link"] == found["run"], "where a server is, so is a page"

        listening = [c.laddr for p in children for c in p.net_connections() if c.status == "LISTEN"]
        assert listening == [("127.0.0.1", int(url.rpartition(":")[2]))]
        for evil in ({"Host": "evil.org"}, {"Origin": "http://evil.org"}):
            assert refuses(f"{url}/api/2.0/mlflow/runs/search", evil)
        for child in children:
            assert child.environ()["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
            assert child.environ()["MLFLOW_DISABLE_TELEMETRY"] == "true"
            assert "sqlite" not in " ".join(child.cmdline()), "an address may hold a password"
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=200)
    assert (process.returncode, output, errors) == (0, "", "")
    gone(children)


@pytest.mark.slow
def test_two_that_are_started_at_once_show_each_its_own(root: Path) -> None:
    """Both find the same port free."""
    other = root.parent / "other"
    other.mkdir()
    with (
        closing(sqlite3.connect(root / "mlflow.db")) as store,
        closing(sqlite3.connect(other / "mlflow.db")) as copy,
    ):
        store.backup(copy)
        with copy:
            copy.execute("UPDATE runs SET name = 'other'")
    [(run,)] = recorded(root, "SELECT run_uuid FROM runs")
    uris = [f"sqlite:///{folder / 'mlflow.db'}" for folder in (root, other)]
    processes = [started("--json", "--uri", uri, cwd=root.parent) for uri in uris]
    try:
        names = []
        for process in processes:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            named = json.loads(get(f"{url}/api/2.0/mlflow/runs/get?run_id={run}"))
            names.append(named["run"]["info"]["run_name"])
        assert names == ["shown", "other"]
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=200)


def test_nothing_is_left_when_the_command_is_killed(root: Path) -> None:
    process = started(cwd=root.parent)
    try:
        end = time.monotonic() + 200
        while len(children := family(process)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(children) >= 2, "MLflow's server and the process that watches over it"
    finally:
        process.kill()
        process.communicate(timeout=200)
    gone(children)


def test_a_server_is_only_named(root: Path, tmp_path: Path) -> None:
    words = ("--uri", "http://me:secret@127.0.0.1:9", "--root", str(root))
    done = dlframe("ui", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "MLflow UI   http://127.0.0.1:9\n")
    assert one_sentence(done.stderr) == "http://127.0.0.1:9 does not answer now"


def test_the_latest_run_says_which_store(tmp_path: Path, capsys: Capture) -> None:
    for uid, uri in (
        ("20260101-000000-aaaa", None),
        ("20260102-000000-bbbb", "http://127.0.0.1:9"),
    ):
        recorder = Recorder(
            tmp_path, uri=uri, experiment="e", run_name=None, uid=uid, deliver=False
        )
        recorder.finish("FINISHED")
    assert main(["ui", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "url": "http://127.0.0.1:9", "experiment": None, "run": None, "pid": None,
    }  # fmt: skip


# --- what a user can get wrong --------------------------------------------------------------------


def refused(capsys: Capture, *words: str) -> str:
    assert main(["ui", *words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    return one_sentence(
        "".join(line for line in said.err.splitlines(keepends=True) if "starting" not in line)
    )


def test_without_runs_there_is_nothing_to_show(tmp_path: Path, capsys: Capture) -> None:
    said = refused(capsys, "--root", str(tmp_path))
    assert f"there are no runs in {str(tmp_path)!r}; train one with `dlframe train`" in said


def test_a_missing_store_is_not_made(tmp_path: Path, capsys: Capture) -> None:
    said = refused(capsys, "--root", str(tmp_path), "--uri", f"sqlite:///{tmp_path / 'no.db'}")
    assert "give --uri one that exists" in said
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken(root: Path, capsys: Capture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused(capsys, "--root", str(root), "--port", str(port))
    assert said == (
        f"port {port} cannot be used (Address already in use); choose another with --port, or leave "
        "it out"
    )
    assert "port 70000 cannot be used" in refused(capsys, "--root", str(root), "--port", "70000")


def test_a_store_of_a_newer_mlflow(root: Path, tmp_path: Path, capsys: Capture) -> None:
    newer = tmp_path / "newer.db"
    with closing(sqlite3.connect(root / "mlflow.db")) as store:
        store.execute("VACUUM INTO ?", (str(newer),))
    with closing(sqlite3.connect(newer, isolation_level=None)) as store:
        store.execute("UPDATE alembic_version SET version_num = 'ffff00001111'")
    uri = f"sqlite:///{newer}"
    remedy = "it was made by a newer MLflow than the installed "
    said = refused(capsys, "--uri", uri)
    assert f"MLflow's server cannot show {uri}: {remedy}" in said
    assert "pip install --upgrade mlflow" in said
    done = dlframe("runs", "--uri", uri, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{uri} cannot be searched for runs: {remedy}" in one_sentence(done.stderr)


def test_an_older_store_is_told_from_a_newer_one(root: Path) -> None:
    [(known,)] = recorded(root, "SELECT version_num FROM alembic_version")
    said = meaning(f"Detected out-of-date schema (found version {known}, but expected 0123)")
    assert "made by an older MLflow" in said
    assert "mlflow db upgrade" in said


LOCKED = "it is locked; end the other program that uses it, or wait for that"


@pytest.fixture
def locked(root: Path, tmp_path: Path) -> Iterator[str]:
    """The URI of a store that another connection holds."""
    copy = tmp_path / "locked.db"
    with closing(sqlite3.connect(root / "mlflow.db")) as store:
        store.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(copy, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield f"sqlite:///{copy}"


@pytest.mark.slow
def test_a_locked_store_cannot_be_listed(locked: str, tmp_path: Path) -> None:
    done = dlframe("runs", "--uri", locked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert one_sentence(done.stderr) == f"{locked} cannot be searched for runs: {LOCKED}"


@pytest.mark.slow
def test_a_locked_store_cannot_be_shown(locked: str, capsys: Capture) -> None:
    assert refused(capsys, "--uri", locked) == f"MLflow's server cannot show {locked}: {LOCKED}"


@pytest.mark.slow
def test_why_the_server_died_is_said(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text.db").write_text("not a database " * 500)
    uri = f"sqlite:///{tmp_path / 'text.db'}"
    assert "it is no SQLite database; give the address of one" in refused(capsys, "--uri", uri)


def test_a_database_that_does_not_answer(capsys: Capture) -> None:
    said = refused(capsys, "--uri", "mysql://me:secret@127.0.0.1:1/x")
    assert said.startswith("mysql://127.0.0.1:1/x cannot be opened: the driver 'MySQLdb' of such a")
    said = refused(capsys, "--uri", "postgresql+psycopg2://me:secret@127.0.0.1:1/x")
    assert "postgresql+psycopg2://127.0.0.1:1/x cannot be opened: " in said
    assert "Connection refused" in said
    assert "secret" not in said
    assert "is no database" in refused(capsys, "--uri", "runs/mlflow.db")
