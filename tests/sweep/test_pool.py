"""Trials in processes of their own: what they are told, and what becomes of them, whatever happens."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dlframe.errors import DlframeError
from dlframe.sweep.definition import Limits
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.pool import Pool, run_inline
from dlframe.sweep.session import members

pytest_plugins = ["pool_fixtures"]

PATIENCE = 120.0


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def order(place: Path, entry: str, **config: Any) -> Order:
    facts = {"facts": str(place / "facts.json"), "asked": str(place / "asked")}
    return Order(entry=f"entries:{entry}", config=facts | config, uid="of-a-test")


def ignore(step: int, values: dict[str, float]) -> bool:
    return False


def facts(place: Path) -> dict[str, Any]:
    """What a trial told of itself, once it has."""
    until((place / "facts.json").exists)
    told: dict[str, Any] = json.loads((place / "facts.json").read_text())
    return told


@contextmanager
def running(
    pool: Pool, place: Path, entry: str, **options: Any
) -> Iterator[tuple["Future[Outcome]", dict[str, Any]]]:
    """A trial at work in another thread, and what it told of itself."""
    with ThreadPoolExecutor(1) as executor:
        options = {"on_report": ignore, **options}
        found = executor.submit(pool.run, order(place, entry), place, **options)
        yield found, facts(place)
        found.result(PATIENCE)


def is_gone(session: int) -> bool:
    return not any(members(session))


# --- what a trial gets and gives ------------------------------------------------------------------


def test_a_trial_has_a_process_session_log_and_environment_of_its_own(
    pool: Pool, tmp_path: Path
) -> None:
    found = pool.run(
        order(tmp_path, "say"), tmp_path, on_report=ignore, environment={"MARK": "this one"}
    )
    assert found == Outcome(uid="of-a-test", state="finished", metrics={"answer": 42.0}, code=0)
    told = facts(tmp_path)
    assert told["pid"] == told["session"] != os.getsid(0)
    assert psutil.Process(told["server"]).ppid() == os.getpid()
    assert (told["folder"], told["mark"], told["reads"]) == (os.getcwd(), "this one", "")
    assert (told["threads"], told["variable"]) == (1, "1")
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        "said on standard output", "said on standard error", "said past Python", "said at the exit",
    ]  # fmt: skip
    written = Outcome.from_json((tmp_path / "result.json").read_text())
    assert written.metrics == found.metrics
    path = tmp_path / "order.json"
    assert Order.from_json(path.read_text()) == order(tmp_path, "say")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "a config may hold passwords"


def test_what_is_forked_has_one_thread_and_no_accelerator(pool: Pool, tmp_path: Path) -> None:
    pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore)
    server = psutil.Process(facts(tmp_path)["server"])
    assert server.num_threads() == 1
    opened = {mapped.path for mapped in server.memory_maps()}
    assert any("libtorch" in path for path in opened), "it is not warm"
    assert not any(path.startswith("/dev/nvidia") for path in opened)


def test_reports_are_answered_in_the_thread_that_waits(pool: Pool, tmp_path: Path) -> None:
    heard: list[tuple[int, dict[str, float]]] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append((step, values))
        return step == 3

    found = pool.run(order(tmp_path, "report"), tmp_path, on_report=on_report)
    assert (found.state, found.metrics) == ("pruned", {"stopped": 3})
    assert heard == [
        (step, {"val/loss": 1.0 / step, "val/accuracy": step / 100}) for step in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("objective", "reported"),
    [
        ("val/loss", {"val/loss": 0.5}),
        ("best/val_loss", {"best/val_loss": 0.5}),
        ("test/accuracy", None),  # which no validation knows
    ],
)
def test_of_one_objective_only_that_is_reported(
    pool: Pool, tmp_path: Path, objective: str, reported: dict[str, float] | None
) -> None:
    heard: dict[int, dict[str, float]] = {}

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard[step] = values
        return step == 2

    told = order(tmp_path, "report")
    told = Order(entry=told.entry, config=told.config, uid=told.uid, objective=objective)
    found = pool.run(told, tmp_path, on_report=on_report)
    assert heard.get(2) == reported
    assert found.state == ("finished" if reported is None else "pruned")


def test_trials_run_at_the_same_time(pool: Pool, tmp_path: Path) -> None:
    places = [tmp_path / str(number) for number in range(3)]
    for place in places:
        place.mkdir()
    stops = [False] * 3
    with ThreadPoolExecutor(3) as executor:
        found = [
            executor.submit(
                pool.run, order(place, "witness"), place, on_report=ignore,
                should_stop=partial(stops.__getitem__, number),
            )
            for number, place in enumerate(places)
        ]  # fmt: skip
        told = [facts(place) for place in places]
        assert len({each["session"] for each in told}) == 3
        for number in (1, 0, 2):  # each is stopped alone
            stops[number] = True
            assert found[number].result(PATIENCE).state == "stopped"
            assert [each.done() for each in found] == stops


# --- how a trial can end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "config", "reason", "code", "said"),
    [
        ("leave", {"code": 3}, "killed", 3, "its process ended with exit code 3 and said nothing"),
        ("leave", {"code": 0}, "killed", 0, "its process ended with exit code 0 and said nothing"),
        ("crash", {}, "killed", -11, "its process was ended by signal 11 (Segmentation fault)"),
        ("quit", {"code": 4}, "killed", 4, "the training called sys.exit(4)"),
        ("quit", {"code": "no"}, "killed", 1, "the training called sys.exit('no')"),
        ("quit", {"code": 0}, "exception", 1, "the training called sys.exit() before it had"),
        ("fail", {"kind": "idea"}, "exception", 1, "ArithmeticError in entries.py, line "),
        ("fail", {"kind": "config"}, "config", 1, "the parts do not fit"),
        ("fail", {"kind": "memory"}, "memory", 1, "MemoryError in entries.py, line "),
        ("fail", {"kind": "device"}, "memory", 1, "the device has too little memory"),
        ("fail", {"kind": "allocator"}, "memory", 1, "RuntimeError in entries.py, line "),
        ("nowhere", {}, "exception", 1, "AttributeError in trial.py, line "),
    ],
)  # fmt: skip
def test_a_failure_has_a_reason(
    pool: Pool,
    tmp_path: Path,
    entry: str,
    config: dict[str, Any],
    reason: str,
    code: int,
    said: str,
) -> None:
    found = pool.run(order(tmp_path, entry, **config), tmp_path, on_report=ignore)
    assert (found.state, found.reason, found.code) == ("failed", reason, code)
    assert found.said is not None
    assert found.said.startswith(said)
    log = (tmp_path / "log.txt").read_text()
    assert ("Traceback" in log) == (entry in ("fail", "quit", "nowhere")), log
    assert ("Fatal Python error: Segmentation fault" in log) == (entry == "crash")


def test_killed_from_outside(pool: Pool, tmp_path: Path) -> None:
    with running(pool, tmp_path, "wait") as (found, told):
        os.kill(told["pid"], signal.SIGKILL)
        ended = found.result(PATIENCE)
    assert (ended.state, ended.reason, ended.code) == ("failed", "killed", -9)
    assert ended.said == "its process was ended by signal 9 (Killed)"
    assert is_gone(told["session"]), "what it has started goes on"


def test_told_to_end_by_somebody_else(pool: Pool, tmp_path: Path) -> None:
    with running(pool, tmp_path, "witness") as (found, told):
        os.kill(told["pid"], signal.SIGTERM)
        ended = found.result(PATIENCE)
    assert (ended.state, ended.reason) == ("failed", "killed")
    assert ended.said == "it was told to stop, but not by its study"


@pytest.mark.parametrize("entry", ["witness", "wait"])
def test_told_to_end_before_the_worker_could_ask(pool: Pool, tmp_path: Path, entry: str) -> None:
    told: list[int] = []

    def should_stop() -> bool:
        # It is asked between two looks: what it says counts where the trial has ended meanwhile.
        if told and not is_gone(told[0]):
            os.kill(told[0], signal.SIGTERM)
            until(lambda: is_gone(told[0]))
            return False
        return bool(told)

    with running(pool, tmp_path, entry, should_stop=should_stop) as (found, facts_of_it):
        told.append(facts_of_it["pid"])
        assert found.result(PATIENCE).state == "stopped"


def test_what_a_scheduler_tells_every_process_is_for_the_worker_to_hear(
    pool: Pool, tmp_path: Path
) -> None:
    stop = threading.Event()
    with running(pool, tmp_path, "witness", should_stop=stop.is_set) as (found, told):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(told["pid"], number)
            os.kill(told["server"], number)
        os.kill(told["server"], signal.SIGTERM)
        stop.set()
        assert found.result(PATIENCE).state == "stopped"
    assert pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore).state == "finished"
    assert facts(tmp_path)["server"] == told["server"]


def test_what_a_trial_leaves_behind_is_ended(pool: Pool, tmp_path: Path) -> None:
    found = pool.run(order(tmp_path, "stray"), tmp_path, on_report=ignore)
    assert found.state == "finished"
    assert is_gone(facts(tmp_path)["session"])


def test_too_long(pool: Pool, tmp_path: Path) -> None:
    found = pool.run(
        order(tmp_path, "witness"), tmp_path, on_report=ignore, limits=Limits(timeout=0.5)
    )
    assert (found.state, found.reason) == ("failed", "timeout")
    assert found.said == "it took longer than the 0.5 seconds of a trial"
    assert (tmp_path / "asked").read_text() == "by signal 15"


def test_too_long_and_deaf(pool: Pool, tmp_path: Path) -> None:
    found = pool.run(
        order(tmp_path, "deaf"), tmp_path, on_report=ignore, limits=Limits(timeout=0.1)
    )
    assert (found.state, found.reason, found.code) == ("failed", "timeout", -9)
    assert is_gone(facts(tmp_path)["session"])


@pytest.mark.parametrize("apart", [False, True])
def test_too_much_memory(pool: Pool, tmp_path: Path, apart: bool) -> None:
    limits = Limits(memory=1500)
    told = order(tmp_path, "fill", mib=2000, apart=apart)
    found = pool.run(told, tmp_path, on_report=ignore, limits=limits)
    assert (found.state, found.reason, found.code) == ("failed", "memory", -9)
    assert found.said is not None
    assert found.said.endswith(" MiB of memory, more than the 1500 of a trial")
    assert is_gone(facts(tmp_path)["session"])


def test_stopped_before_it_has_begun(pool: Pool, tmp_path: Path) -> None:
    found = pool.run(order(tmp_path, "wait"), tmp_path, on_report=ignore, should_stop=lambda: True)
    assert (found.state, found.reason) == ("stopped", "stopped")


def test_the_end_does_not_wait_for_the_beginning(tmp_path: Path) -> None:
    """As when a command is stopped while torch is imported."""
    with Pool(grace=3600.0) as pool:
        found = pool.run(
            order(tmp_path, "wait"), tmp_path, on_report=ignore, should_stop=lambda: True
        )
    assert (found.state, found.code) == ("stopped", None)
    assert not (tmp_path / "log.txt").exists()


def test_in_a_hurry_nothing_is_waited_for(tmp_path: Path) -> None:
    stop, hurry = threading.Event(), threading.Event()
    told_to = {"should_stop": stop.is_set, "should_hurry": hurry.is_set}
    with Pool(grace=3600.0) as pool, running(pool, tmp_path, "deaf", **told_to) as (found, _):
        stop.set()
        with pytest.raises(TimeoutError):
            found.result(2)
        hurry.set()
        ended = found.result(PATIENCE)
    assert (ended.state, ended.code) == ("stopped", -9)


# --- the death of others --------------------------------------------------------------------------


def test_an_error_of_who_hears_stops_the_trial(pool: Pool, tmp_path: Path) -> None:
    def on_report(step: int, values: dict[str, float]) -> bool:
        raise DlframeError("the storage does not answer")

    with pytest.raises(DlframeError, match="the storage does not answer"):
        pool.run(order(tmp_path, "report"), tmp_path, on_report=on_report)
    assert pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore).state == "finished"


def test_a_server_that_is_killed_takes_its_trials_along_and_is_replaced(
    pool: Pool, tmp_path: Path
) -> None:
    with running(pool, tmp_path, "witness") as (found, told):
        os.kill(told["server"], signal.SIGKILL)
        ended = found.result(PATIENCE)
    assert (ended.state, ended.reason, ended.code) == ("failed", "killed", None)
    assert ended.said == "the process that it was begun from was killed"
    assert (tmp_path / "asked").read_text() == "by signal 15"
    assert is_gone(told["session"])
    again = pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore)
    assert again.state == "finished"
    assert facts(tmp_path)["server"] != told["server"]


WORKER = """
import sys
from pathlib import Path
from dlframe.sweep.order import Order
from dlframe.sweep.pool import Pool

place = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
with Pool(grace=2.0) as pool:
    told = {"facts": str(place / "facts.json"), "asked": str(place / "asked"), "mib": 1500, "apart": 0}
    order = Order(entry=f"entries:{sys.argv[3]}", config=told, uid="of-a-test")
    found = pool.run(order, place, on_report=lambda step, values: False)
    print(found.state, found.reason, found.code)
"""


@contextmanager
def worker(place: Path, entry: str, *before: str) -> Iterator["subprocess.Popen[str]"]:
    """A process with a pool of its own and a trial."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", WORKER, str(place), str(Path(__file__).parent), entry],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("server_too", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_takes_its_trials_along(tmp_path: Path, server_too: bool) -> None:
    with worker(tmp_path, "witness") as process:
        told = facts(tmp_path)
        server = psutil.Process(told["server"])
        folder = Path(server.cmdline()[-2])
        assert folder.is_dir()
        process.kill()
        if server_too:
            server.kill()
        until(lambda: is_gone(told["session"]))
        assert (tmp_path / "asked").read_text() == "by signal 15"
        until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
        assert folder.is_dir() == server_too, "nobody is left to remove it"
        shutil.rmtree(folder, ignore_errors=True)


def test_a_pool_that_is_closed_stops_its_trials(tmp_path: Path) -> None:
    pool = Pool(grace=1.0)
    with running(pool, tmp_path, "deaf") as (found, told):
        pool.close()
        ended = found.result(PATIENCE)
    assert (ended.state, ended.code) == ("stopped", -9)
    assert is_gone(told["session"])
    assert not psutil.pid_exists(told["server"])
    with pytest.raises(RuntimeError, match="the pool has been closed"):
        pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore)


def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psutil.py").write_text("raise ImportError('psutil is broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Pool() as pool, pytest.raises(DlframeError, match="ImportError: psutil is broken"):
        pool.run(order(tmp_path, "say"), tmp_path, on_report=ignore)


@contextmanager
def memory_group(mib: int) -> Iterator[Path]:
    """A control group of its own with a limit; skips the test where none may be made."""
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    top, name = (one, "memory.limit_in_bytes") if one.is_dir() else (two, "memory.max")
    group = top / f"dlframe-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / name).write_text(f"{mib}M")
        except OSError as error:
            pytest.skip(f"no memory can be limited here: {error}")
        yield group
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.slow
def test_killed_by_the_kernel_for_want_of_memory(tmp_path: Path) -> None:
    with memory_group(1800) as group:
        entering = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        with worker(tmp_path, "fill", *entering) as process:
            said, _ = process.communicate(timeout=PATIENCE)
    assert said == "failed memory -9\n"


# --- in the worker's own process ------------------------------------------------------------------


def test_inline_gives_the_same_outcomes(tmp_path: Path) -> None:
    found = run_inline(order(tmp_path, "report"), tmp_path, lambda step, values: step == 2)
    assert (found.state, found.metrics) == ("pruned", {"stopped": 2})
    assert Outcome.from_json((tmp_path / "result.json").read_text()) == found
    failed = run_inline(order(tmp_path, "fail", kind="config"), tmp_path, ignore)
    assert (failed.state, failed.reason, failed.said) == (
        "failed",
        "config",
        "the parts do not fit",
    )
    left = run_inline(order(tmp_path, "quit", code=4), tmp_path, ignore)
    assert (left.state, left.reason, left.code) == ("failed", "killed", 4)


def test_inline_lets_interruptions_and_the_hearers_errors_pass(tmp_path: Path) -> None:
    raised: list[BaseException] = [KeyboardInterrupt(), DlframeError("the storage is gone")]

    def on_report(step: int, values: dict[str, float]) -> bool:
        raise raised[0]

    while raised:
        with pytest.raises(type(raised[0])):
            run_inline(order(tmp_path, "report"), tmp_path, on_report)
        raised.pop(0)
