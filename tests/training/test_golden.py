"""Three short trainings give, to the last bit, the losses that are under version control."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the recorded losses are those of x86-64 arithmetic"
)
def test_losses_are_the_recorded_ones_to_the_last_bit() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "golden.py")],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    recorded = json.loads((HERE / "golden.json").read_text())
    readable = {
        name: {key: [float.fromhex(v) for v in values] for key, values in curves.items()}
        for name, curves in found.items()
    }
    assert found == recorded, (
        f"now {readable}; if that is meant: python tests/training/golden.py --write"
    )
    assert all(len(curve) == 3 for run in found.values() for curve in run.values())
