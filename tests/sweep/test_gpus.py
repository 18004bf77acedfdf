"""GPUs that several processes share: each trial has its own, whoever dies."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from study_support import made

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Limits
from dlframe.sweep.gpus import Device, Gpus, devices, visible
from dlframe.sweep.worker import Worker

_TWO = [Device("0", "GPU-a"), Device("1", "GPU-b")]
_CARDS = {"GPU-a1": ["GPU-a1"], "GPU-a2": ["MIG-p", "MIG-q"], "GPU-b": ["GPU-b"], "GPU-c": []}
"""The second is in slices, and of the last one's none has been made yet."""


def _shown(gpus: Gpus, stop: threading.Event | None = None) -> dict[str, str]:
    with gpus.lease(stop or threading.Event()) as found:
        return found


def _ended() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


# --- which there are ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("0", [("0", "GPU-a1")]),
        ("2, 1", [("2", "GPU-b"), ("1", "MIG-p")]),
        ("GPU-a1,GPU-b", [("GPU-a1", "GPU-a1"), ("GPU-b", "GPU-b")]),
        ("GPU-a2", [("GPU-a2", "MIG-p")]),
        ("MIG-q,MIG-p", [("MIG-q", "MIG-q"), ("MIG-p", "MIG-p")]),
        ("GPU-a", []),  # two begin so
        ("", []),
        ("-1", []),
        ("0,-1,2", [("0", "GPU-a1")]),
        ("0,4,2", [("0", "GPU-a1")]),
        ("0,3,2", [("0", "GPU-a1")]),
        ("0,GPU-b", [("0", "GPU-a1")]),
        ("GPU-b,0", [("GPU-b", "GPU-b")]),
        ("0,2,0", []),  # CUDA shows none then
        ("none", []),
    ],
)
def test_a_list_in_the_environment_is_read_as_cuda_does(
    given: str, found: list[tuple[str, str]]
) -> None:
    assert visible(given, _CARDS) == found


def test_without_a_list_all_are_known_by_their_uuids() -> None:
    assert visible(None, _CARDS) == [(each, each) for each in ("GPU-a1", "MIG-p", "MIG-q", "GPU-b")]
    assert visible("0", {}) == [], "without a driver a list names nothing"


def test_those_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    every = devices()
    assert all(each.name == each.id and each.id.startswith(("GPU-", "MIG-")) for each in every)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert [each.id for each in devices()] == [each.id for each in every[:1]]


# --- who has which --------------------------------------------------------------------------------


def test_two_trials_have_different_ones(tmp_path: Path) -> None:
    gpus, stop = Gpus(1, _TWO, tmp_path), threading.Event()
    with gpus.lease(stop) as first, gpus.lease(stop) as second:
        found = {each["CUDA_VISIBLE_DEVICES"] for each in (first, second)}
        assert _shown(gpus, _ended()) == {"CUDA_VISIBLE_DEVICES": ""}, "no third is left"
    assert found == {"0", "1"}
    assert _shown(Gpus(2, _TWO, tmp_path)) == {"CUDA_VISIBLE_DEVICES": "0,1"}


def test_what_is_not_said_is_one_each_where_there_are_any(tmp_path: Path) -> None:
    assert _shown(Gpus(None, _TWO, tmp_path)) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert _shown(Gpus(None, [], tmp_path)) == {}
    assert _shown(Gpus(0, _TWO, tmp_path)) == {}, "none of its own, and none hidden"


def test_jobs_that_see_different_ones_under_one_name_wait_for_nobody(tmp_path: Path) -> None:
    """As jobs of a cluster whose scheduler shows each of them its own GPU, as the first."""
    jobs = [Gpus(None, [Device("0", uuid)], tmp_path) for uuid in ("GPU-a", "GPU-b")]
    with jobs[0].lease(_ended()) as first, jobs[1].lease(_ended()) as second:
        assert first == second == {"CUDA_VISIBLE_DEVICES": "0"}


def test_one_with_two_names_is_leased_once(tmp_path: Path) -> None:
    by_number = Gpus(1, [Device("0", "GPU-a")], tmp_path)
    by_uuid = Gpus(1, [Device("GPU-a", "GPU-a"), Device("GPU-b", "GPU-b")], tmp_path)
    with by_number.lease(_ended()), by_uuid.lease(_ended()) as other:
        assert other == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
    with by_uuid.lease(_ended()), by_number.lease(_ended()) as other:
        assert other == {"CUDA_VISIBLE_DEVICES": ""}


def test_more_than_there_are_is_refused(tmp_path: Path) -> None:
    said = r"is to have 3 GPUs for itself, and .* may use 2; give hydra.sweeper.gpus_per_trial=2"
    with pytest.raises(ConfigError, match=said):
        Gpus(3, _TWO, tmp_path)
    with pytest.raises(ConfigError, match=r"have 1 GPU for itself, and .* may use 0"):
        Gpus(1, [], tmp_path)
    with pytest.raises(ConfigError, match="have 10000 GPUs for itself"):
        Worker(made(tmp_path, limits=Limits(gpus=10_000), execution="inline"))


def _hold(folder: Path, held: Event) -> None:
    with Gpus(2, _TWO, folder).lease(threading.Event()):
        held.set()
        time.sleep(60)


def test_that_of_a_killed_worker_is_free_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(30)
    assert _shown(Gpus(1, _TWO, tmp_path), _ended()) == {"CUDA_VISIBLE_DEVICES": ""}
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert _shown(Gpus(1, _TWO, tmp_path)) == {"CUDA_VISIBLE_DEVICES": "0"}
