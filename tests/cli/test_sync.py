"""``dlframe sync`` and runs that are recorded offline."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import QUICK, dlframe, end_delivery, fresh, one_sentence, recorded, runs_in


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run that was recorded offline."""
    place = tmp_path_factory.mktemp("offline")
    done = dlframe("train", *QUICK, "tracking.offline=true", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["mlflow_run_id"] is None
    assert "records wait for `dlframe sync` (tracking.offline=true)" in facts["note"]
    assert not (place / "runs" / "mlflow.db").exists()
    assert not (place / "runs" / "delivery.log").exists()
    yield place
    end_delivery(place / "runs")


def test_what_was_recorded_offline_goes_where_it_is_sent(offline: Path, tmp_path: Path) -> None:
    [uid] = runs_in(offline / "runs")
    shutil.copytree(offline / "runs", tmp_path / "copied")  # as from another machine
    other = f"sqlite:///{tmp_path / 'other.db'}"
    try:
        first = fresh("sync", "copied", cwd=tmp_path)
        assert (first.returncode, first.stderr) == (0, "")
        assert first.stdout.splitlines()[-1] == "1 of 1 runs delivered"
        second = dlframe("sync", "copied", "--json", cwd=tmp_path)
        assert json.loads(second.stdout) == {"runs": [], "delivered_before": 1, "skipped": []}
        third = dlframe("sync", f"copied/{uid}", "--uri", other, "--json", cwd=tmp_path)
        [facts] = json.loads(third.stdout)["runs"]
        assert (facts["run"], facts["complete"], facts["left"]) == (uid, True, 0)
        assert facts["tracking_uri"] == other
        rows = recorded(tmp_path / "copied", "SELECT key, step, value FROM metrics")
        assert rows
        (tmp_path / "other.db").rename(tmp_path / "copied" / "mlflow.db")
        assert sorted(recorded(tmp_path / "copied", "SELECT key, step, value FROM metrics")) == (
            sorted(rows)
        )
    finally:
        end_delivery(tmp_path / "copied")
    assert not (offline / "runs" / "mlflow.db").exists(), "the copy alone was delivered"


def test_a_server_that_is_away_is_said_and_the_rest_goes_on(offline: Path, tmp_path: Path) -> None:
    shutil.copytree(offline / "runs", tmp_path / "runs")
    try:
        end = time.monotonic() + 120
        said = ["still on their way"]
        while "still on their way" in said[0] and time.monotonic() < end:  # on a busy machine
            done = dlframe("sync", "--uri", "http://127.0.0.1:1", "--wait", "4", cwd=tmp_path)
            assert done.returncode == 1
            said = done.stdout.splitlines()
        assert "records left: http://127.0.0.1:1 does not take the run: no connection" in said[0]
        assert said[1:] == [
            "0 of 1 runs delivered", "the delivery process goes on in the background",
        ]  # fmt: skip
    finally:
        end_delivery(tmp_path / "runs")


def test_a_folder_without_runs(tmp_path: Path) -> None:
    done = dlframe("sync", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'nowhere' holds no recorded runs" in one_sentence(done.stderr)
