import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dlframe.tracking.spool import MARKER, Cursor, RunInfo, Spool, claim, entry

INFO = RunInfo(uid="u", experiment="e", run_name=None, uri=None, user="me", created=5)


def test_records_come_back_in_order_and_whole(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, INFO)
    spool.append([entry("metrics", i, {"step": i, "values": {"a": i / 3}}) for i in range(5)])
    spool.append([entry("metrics", 9, {"step": 9, "values": {"a": math.nan, "b": -math.inf}})])
    records = spool.read(2, 3)
    assert [(r.seq, r.body["values"]["a"]) for r in records] == [(3, 2 / 3), (4, 1.0), (5, 4 / 3)]
    (odd,) = spool.read(5, 10)
    assert math.isnan(odd.body["values"]["a"])
    assert odd.body["values"]["b"] == -math.inf
    assert spool.last() == (6, "metrics", 9)
    assert spool.count(4) == 2
    assert spool.info() == INFO
    spool.close()


def test_cursors_are_kept_per_sink_and_survive_reopening(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, INFO)
    spool.advance("mlflow", Cursor(3, {"run_id": "x"}))
    spool.close()
    again = Spool.create(tmp_path, RunInfo(**{**vars(INFO), "created": 99}))
    assert again.cursor("mlflow") == Cursor(3, {"run_id": "x"})
    assert again.cursor("other") == Cursor(0, {})
    assert again.info().created == 5  # what was there stays
    again.close()


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, INFO)
    spool._connection.execute("PRAGMA max_page_count=8")
    big = entry("tags", 1, {"values": {"k": "x" * 100_000}})
    with pytest.raises(sqlite3.OperationalError, match="full"):
        spool.append([entry("tags", 1, {"values": {}}), big])
    assert spool.last() is None
    spool.append([entry("tags", 2, {"values": {}})])
    assert spool.count(0) == 1
    spool.close()


def test_a_missing_spool_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        Spool(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_claim_is_exclusive_and_dropped_by_the_kernel(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from dlframe.tracking.spool import take\n"
        f"assert take(pathlib.Path({str(tmp_path)!r})) is not None\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with claim(tmp_path) as claimed:
            assert claimed is None
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with claim(tmp_path) as claimed:
            assert claimed is not None
    assert (tmp_path / MARKER).exists()


def test_the_recording_side_imports_no_mlflow_torch_or_numpy_and_opens_no_socket(
    tmp_path: Path,
) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.addaudithook(lambda event, args: sys.exit(event) if event.startswith('socket.')"
        " else None)\n"
        "from dlframe.tracking.recorder import Recorder\n"
        f"r = Recorder(Path({str(tmp_path / 'runs')!r}), uri='http://127.0.0.1:9', experiment='e',"
        " run_name=None, deliver=False)\n"
        "r.metrics({'a': 1.0}, 1)\n"
        "r.finish('FINISHED')\n"
        "print(sorted({'mlflow', 'torch', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
