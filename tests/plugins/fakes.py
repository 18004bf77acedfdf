"""Fake installed distributions: a folder of modules and ``*.dist-info``, as pip leaves them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOOKS = """from dlframe import Component, hookimpl
"""

GOOD = f"""{HOOKS}
@hookimpl
def dlframe_activations():
    yield Component(name="swish", target="{{module}}_layers:Swish", summary="x * sigmoid(x)")
"""

LAYERS = '''from torch import nn


class Swish(nn.Module):
    """``x * sigmoid(beta * x)``.

    Args:
        beta: how sharp the bend is.
    """

    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x):
        return x * (self.beta * x).sigmoid()
'''


def install(
    folder: Path,
    name: str,
    source: str,
    *,
    distribution: str | None = None,
    module: str | None = None,
    version: str = "1.2.3",
) -> None:
    """Write a distribution with one plugin.

    Args:
        folder: what ``sys.path`` will hold.
        name: the entry point's name.
        source: the module that the entry point names; ``{module}`` stands for its name.
        distribution: the distribution's name.
        module: the module's name.
        version: the distribution's version.
    """
    distribution = distribution or f"dlframe-{name}"
    module = module or distribution.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source.replace("{module}", module))
    (folder / f"{module}_layers.py").write_text(LAYERS)
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Dist: dlframe\n"
    )
    (info / "entry_points.txt").write_text(f"[dlframe]\n{name} = {module}\n")


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Make the distributions of ``folder`` visible to this process, and forget their modules after."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for path in folder.glob("*.py"):
            sys.modules.pop(path.stem, None)


def dlframe(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a new process that sees the distributions of ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "dlframe", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "DLFRAME_STRICT_PLUGINS": "", "PYTHONPATH": str(folder), **environment},
    )
