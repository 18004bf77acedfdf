"""What must not be imported until it is used."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "lightning",
    "mlflow",
    "optuna",
    "hydra",
    "omegaconf",
    "pandas",
    "sklearn",
    "kornia",
)

RUN = "import dlframe.cli.main as cli; code = cli.main({argv!r}); assert code == 0, code"
STATEMENTS = {
    "import dlframe": "import dlframe",
    "import dlframe.interfaces": "import dlframe.interfaces",
    "--help": RUN.format(argv=["--help"]),
    "--version": RUN.format(argv=["--version"]),
    "ls": RUN.format(argv=["ls"]),
    "ls loss": RUN.format(argv=["ls", "loss"]),
    "ls --json": RUN.format(argv=["ls", "--json"]),
    "plugins": RUN.format(argv=["plugins"]),
}


def _imported(statement: str) -> set[str]:
    """The heavy packages that a new process holds after ``statement``."""
    code = (
        f"import sys\n{statement}\nprint('\\nheavy:', *(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("name", STATEMENTS)
def test_listing_imports_nothing_heavy(name: str) -> None:
    assert _imported(STATEMENTS[name]) == set()


COMPONENTS = ("activation/gelu", "optimizer/adam", "data/csv", "task/regression")


@pytest.mark.parametrize("component", COMPONENTS)
def test_show_reads_options_without_torch(component: str) -> None:
    assert "torch" not in _imported(RUN.format(argv=["show", component]))


def test_the_probe_sees_an_import() -> None:
    assert _imported("import pandas") == {"pandas"}
