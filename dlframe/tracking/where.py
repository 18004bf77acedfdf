"""How a command that is printed for the user names the folder of the runs."""

import os
import shlex
from pathlib import Path

__all__ = ["root_option"]


def root_option(root: Path) -> str:
    """Return `` --root DIR``, or nothing where that is the default."""
    if root.absolute() == Path("runs").absolute():
        return ""
    return f" --root {shlex.quote(os.fspath(root))}"
