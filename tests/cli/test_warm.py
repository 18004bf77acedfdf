"""A forked command is like one in a process that was started for it."""

import json
import os
import signal
from pathlib import Path

import pytest
from cli_support import dlframe, fresh, started, warm


@pytest.mark.parametrize(
    "words", [["--version"], ["nonsense"], ["ls", "loss"], ["train", "optimizer.lrr=1"], ["runs"]]
)
def test_it_prints_and_returns_the_same(words: list[str], tmp_path: Path) -> None:
    forked, own = dlframe(*words, cwd=tmp_path), fresh(*words, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        own.returncode, own.stdout, own.stderr,
    )  # fmt: skip
    assert forked.stdout or forked.stderr


def test_it_is_a_process_of_its_own_in_its_place(tmp_path: Path) -> None:
    fifo = tmp_path / "train-images-idx3-ubyte.gz"
    os.mkfifo(fifo)
    process = started("train", "data=mnist", "data.root=.", cwd=tmp_path, group=True)
    try:
        writer = os.open(fifo, os.O_WRONLY)  # waits until it reads
        facts = Path(f"/proc/{process.pid}")
        assert (facts / "cwd").resolve() == tmp_path
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        assert process.communicate(60) == ("", "")
        assert process.returncode == process.poll() == -signal.SIGKILL
        os.close(writer)
    finally:
        process.kill()


def test_two_run_at_once(tmp_path: Path) -> None:
    both = [started("ls", kind, "--json", cwd=tmp_path) for kind in ("loss", "task")]
    for kind, process in zip(("loss", "task"), both, strict=True):
        out, err = process.communicate(60)
        assert (process.returncode, err) == (0, "")
        assert {row["kind"] for row in json.loads(out)} == {kind}


def test_other_variables_take_a_process_that_reads_them_as_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = warm()
    monkeypatch.setenv("PYTHONWARNINGS", "nonsense")
    assert "Invalid -W option ignored" in dlframe("--version", cwd=tmp_path).stderr
    monkeypatch.undo()
    assert warm() is before
