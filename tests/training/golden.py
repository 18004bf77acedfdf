"""Short reference trainings whose losses are under version control.

``python tests/training/golden.py`` prints them; with ``--write`` it replaces the recorded ones, which a
change that means to alter numbers does in the same commit. The instruction set is held down, so that
the numbers are the same on every x86-64 machine.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("golden.json")
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}
RUNS = {
    "mlp": ["architecture=mlp", "data=digits"],
    "cnn": [
        "architecture=cnn",
        "activation=gelu",
        "loss=focal",
        "optimizer=sgd",
        "optimizer.lr=0.05",
        "optimizer.momentum=0.9",
        "scheduler=cosine",
        "initializer=kaiming",
        "regularizer=[l2,dropout,mixup]",
    ],
    "regression": ["data=diabetes", "activation=tanh", "optimizer=adamw", "data.batch_size=32"],
}


def losses() -> dict[str, dict[str, list[str]]]:
    """Train all and return training and validation losses of each epoch, as exact hex floats."""
    import dlframe

    found = {}
    with tempfile.TemporaryDirectory() as root:
        quiet = [f"tracking.root={root}", "tracking.enabled=false", "trainer.checkpoint=false"]
        for name, overrides in RUNS.items():
            run = dlframe.train(*quiet, "trainer.max_epochs=3", "trainer.threads=1", *overrides)
            found[name] = {
                key: [values[key].hex() for values in run.epochs if key in values]
                for key in ("train/loss", "val/loss")
            }
    return found


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in PORTABLE.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **PORTABLE})
    text = json.dumps(losses(), indent=1) + "\n"
    if "--write" in sys.argv:
        RECORDED.write_text(text)
    else:
        sys.stdout.write(text)
