"""optuna-dashboard, which opens the journal of a study as it is."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from study_support import searched

from dlframe.sweep.storage import journal_of


def test_the_dashboard_shows_a_study(tmp_path: Path) -> None:
    study = searched(tmp_path / "runs", 12)
    journal = journal_of("study", tmp_path / "runs").removeprefix("journal://")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("optuna-dashboard"), journal, "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        [summary] = _get(process, port, "studies")["study_summaries"]
        assert summary["study_name"] == "study"
        shown = _get(process, port, f"studies/{summary['study_id']}?after=0")
        states = {trial["state"] for trial in shown["trials"]}
        assert (len(shown["trials"]), shown["has_intermediate_values"]) == (len(study.trials), True)
        assert states >= {"Complete"}
    finally:
        process.kill()
        process.wait()


def _get(process: "subprocess.Popen[bytes]", port: int, what: str) -> Any:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}", timeout=60) as reply:
                return json.load(reply)
        except OSError:  # it does not listen yet
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
