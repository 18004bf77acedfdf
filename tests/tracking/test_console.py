import io
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from rich.progress import Progress

from dlframe.tracking.console import Console, captured


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


def kept(path: Path, *writes: tuple[str, str], limit: int = 10_000) -> str:
    console = Console(limit)
    console.keep(path)
    for stream, text in writes:
        console.write(stream, text)
    console.close()
    return path.read_text()


def test_both_streams_and_logging_are_copied_and_still_shown(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(sys.stderr)  # as one that was made before
    before = (vars(sys.stdout).get("write"), vars(sys.stderr).get("write"))
    with captured(Console()) as console:
        print("before there is a file")
        console.keep(path)
        print("out", 1)
        handler.emit(logging.LogRecord("a", 30, "b", 1, "logged", None, None))
        sys.stderr.writelines(["a\n", "b\n"])
        print("no end of line", end="")
    print("after")
    assert (vars(sys.stdout).get("write"), vars(sys.stderr).get("write")) == before
    shown = capsys.readouterr()
    assert shown.out == "before there is a file\nout 1\nno end of lineafter\n"
    assert shown.err == "logged\na\nb\n"
    expected = "before there is a file\nout 1\nlogged\na\nb\nno end of line\n"
    assert path.read_text() == expected


def test_a_line_drawn_anew_is_kept_in_its_last_form(path: Path) -> None:
    writes = [("stderr", f"\rstep {i}") for i in range(1000)]
    assert kept(path, *writes, ("stderr", "\ndone\r\n")) == "step 999\ndone\n"


def test_bars_of_several_lines_leave_their_last_form_and_what_was_printed_between(
    path: Path,
) -> None:
    terminal = Terminal(file=io.StringIO(), force_terminal=True, width=80)
    shown = terminal.file
    assert isinstance(shown, io.StringIO)
    with Progress(console=terminal, auto_refresh=False) as progress:
        tasks = [progress.add_task(name, total=100) for name in ("one", "two", "three")]
        for number in range(100):
            for task in tasks:
                progress.advance(task)
            progress.refresh()
            if number == 50:
                terminal.print("in between")
    text = shown.getvalue()
    assert text.count("three") > 100
    lines = kept(path, ("stdout", text)).splitlines()
    assert [line.split()[0] for line in lines] == ["in", "one", "two", "three"]
    assert all("100%" in line for line in lines[1:])


def test_lines_of_two_streams_do_not_mix(path: Path) -> None:
    writes = (("stdout", "a"), ("stderr", "x\n"), ("stdout", "b\n"))
    assert kept(path, *writes) == "x\nab\n"


def test_colours_and_secrets_are_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "plain-looking")
    writes = (
        ("stdout", "\x1b[31mred\x1b[0m\n"),
        ("stdout", "I say plain-"),
        ("stdout", "looking\n"),
    )
    assert kept(path, *writes) == "red\nI say [redacted]\n"


def test_beyond_the_limit_the_last_lines_and_words_are_kept(path: Path) -> None:
    console = Console(limit=1000)
    console.keep(path)
    for number in range(5000):
        console.write("stdout", f"line {number}\n")
    console.close("Traceback: it broke")
    lines = path.read_text().splitlines()
    assert lines[0] == "line 0"
    assert lines[-2:] == ["line 4999", "Traceback: it broke"]
    (gap,) = [line for line in lines if "left out" in line]
    assert int(gap.strip("[").split()[0]) == 5000 - (len(lines) - 2)


def test_a_second_attempt_goes_on_below_the_first(path: Path) -> None:
    kept(path, ("stdout", "first\n"))
    assert kept(path, ("stdout", "second\n")) == "first\nsecond\n"


def test_two_runs_in_threads_each_have_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each hears all of the process; the one that ends first takes nothing from the other."""
    ended, said = threading.Event(), threading.Event()

    def short() -> None:
        with captured(Console()) as console:
            console.keep(tmp_path / "short")
            said.wait(30)
        ended.set()

    with captured(Console()) as console:
        console.keep(tmp_path / "long")
        thread = threading.Thread(target=short)
        thread.start()
        while not (tmp_path / "short").exists():
            said.wait(0.01)
        print("one")
        said.set()
        assert ended.wait(30)
        thread.join()
        print("two")
    assert capsys.readouterr().out == "one\ntwo\n"
    assert (tmp_path / "long").read_text() == "one\ntwo\n"
    assert (tmp_path / "short").read_text() == "one\n"


def test_a_disk_that_is_full_ends_the_copy_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with captured(Console()) as console:
        console.keep(full)
        print("said")
        assert console.error is not None
        print("said too")
    assert capsys.readouterr().out == "said\nsaid too\n"


def test_without_a_terminal_nothing_is_copied(tmp_path: Path) -> None:
    """As under pythonw, or in a daemon that has closed its streams."""
    code = (
        "import sys; from pathlib import Path; from dlframe.tracking.console import *\n"
        "sys.stdout = sys.stderr = None\n"
        "with captured(Console()) as console:\n"
        "    console.keep(Path('log')); print('said')\n"
        "Path('end').touch()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "end").exists()
    assert (tmp_path / "log").read_text() == ""
