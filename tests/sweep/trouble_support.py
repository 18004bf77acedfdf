"""A plugin whose regularizer makes trials go wrong, each in a way of its own, for real."""

import os
import sys
from pathlib import Path

_HOOK = """from dlframe import Component, hookimpl


@hookimpl
def dlframe_regularizers():
    yield Component(name="trouble", target="trouble_parts:Trouble", summary="goes wrong")
"""

_PARTS = '''import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal

import lightning as L

from dlframe.interfaces import Regularizer


class Trouble(Regularizer):
    """Goes wrong as the second epoch begins.

    Args:
        how: in which way.
        always: again in a further attempt, too.
        seconds: that an epoch takes longer.
    """

    def __init__(
        self,
        *,
        how: Literal[
            "none", "raise", "exit", "vanish", "kill", "memory", "hang", "stop", "diverge"
        ] = "none",
        always: bool = False,
        seconds: float = 0.0,
    ) -> None:
        self.how, self.always, self.seconds = how, always, seconds

    def callbacks(self):
        return [_Callback(self)]


class _Callback(L.Callback):
    def __init__(self, trouble) -> None:
        self.trouble = trouble

    def on_train_epoch_start(self, trainer, module):
        time.sleep(self.trouble.seconds)
        how = self.trouble.how
        mark = Path(os.environ["TROUBLE_MARKS"]) / how
        if trainer.current_epoch < 1 or (mark.exists() and not self.trouble.always):
            return
        mark.touch()
        if how == "raise":
            raise RuntimeError("trouble was asked for")
        if how == "exit":
            sys.exit(3)
        if how == "vanish":
            os._exit(9)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if how == "hang":
            time.sleep(600)
        if how == "memory":
            held = [bytearray(64 * 2**20) for _ in range(64)]
            time.sleep(600)
            del held
        if how == "diverge":
            for parameter in module.parameters():
                parameter.data.fill_(float("nan"))
'''


def install(folder: Path) -> dict[str, str]:
    """Install the plugin in a folder; return the environment in which it is found."""
    facts = folder / "trouble-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[dlframe]\ntrouble = trouble_hook\n")
    (folder / "trouble_hook.py").write_text(_HOOK)
    (folder / "trouble_parts.py").write_text(_PARTS)
    marks = folder / "marks"
    marks.mkdir()
    return {
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TROUBLE_MARKS": str(marks),
    }


COMMAND = [sys.executable, "-m", "dlframe", "train"]
