"""Signs of life: who is there, who is gone, and who cannot be seen from here."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

from dlframe.sweep.workers import is_alive, sign_of_life


def _sign(place: Any) -> None:
    place.put(sign_of_life(0.0, 1, ended=False))
    time.sleep(600)


def test_a_process_is_there_until_it_is_gone() -> None:
    context = multiprocessing.get_context("fork")
    place = context.SimpleQueue()
    process = context.Process(target=_sign, args=(place,), daemon=True)
    process.start()
    sign = place.get()
    assert sign["pid"] == process.pid
    assert is_alive(sign) is True
    assert is_alive({**sign, "ended": True}) is False
    assert is_alive({**sign, "started": sign["started"] - 1}) is False, "its number was given anew"
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert is_alive(sign) is False, "nobody has waited for it yet"
    process.join()
    assert is_alive(sign) is False


def test_who_is_on_another_machine_or_in_another_container_is_not_seen() -> None:
    sign = sign_of_life(0.0, 1, ended=False)
    assert is_alive(sign) is True
    assert is_alive({**sign, "host": "elsewhere", "pid": 1}) is None
    assert is_alive({**sign, "system": "another", "pid": 2**22 + 1}) is None
    assert is_alive({**sign, "system": "another", "ended": True}) is False
