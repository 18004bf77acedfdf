"""GPUs that several processes share: each trial has its own, whoever dies."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dlframe.sweep.gpus import Gpus, devices


def test_two_trials_have_different_ones(tmp_path: Path) -> None:
    gpus, stop = Gpus(1, ["0", "1"], tmp_path), threading.Event()
    with gpus.lease(stop) as first, gpus.lease(stop) as second:
        found = {each["CUDA_VISIBLE_DEVICES"] for each in (first, second)}
    assert found == {"0", "1"}
    with Gpus(2, ["0", "1"], tmp_path).lease(stop) as both:
        assert both == {"CUDA_VISIBLE_DEVICES": "0,1"}
    with Gpus(0, ["0", "1"], tmp_path).lease(stop) as none:
        assert none == {}
    with Gpus(1, [], tmp_path).lease(stop) as none:
        assert none == {}


def _hold(folder: Path, held: "multiprocessing.synchronize.Event") -> None:
    with Gpus(2, ["0", "1"], folder).lease(threading.Event()):
        held.set()
        time.sleep(60)


def test_that_of_a_killed_worker_is_free_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(30)
    stop = threading.Event()
    stop.set()
    with Gpus(1, ["0", "1"], tmp_path).lease(stop) as none:
        assert none == {"CUDA_VISIBLE_DEVICES": ""}
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with Gpus(1, ["0", "1"], tmp_path).lease(threading.Event()) as one:
        assert one == {"CUDA_VISIBLE_DEVICES": "0"}


def test_a_list_in_the_environment_limits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    assert devices() == ["3", "GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []
