"""``dlframe new`` writes packages that work, and the example plugin travels the third-party road."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlframe.cli.main import main
from dlframe.plugin import KINDS

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "plugins" / "dlframe-example"
QUICK = ("activation", "scheduler")


def _pip_install(target: Path, *packages: Path) -> None:
    """Install packages as pip does, offline, into a folder of their own."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", target, *packages],
        check=True,
        capture_output=True,
    )  # fmt: skip


def _python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), "DLFRAME_STRICT_PLUGINS": "1"},
    )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example plugin."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # building writes beside the source
    _pip_install(folder / "site", folder / "source")
    return folder / "site"


def test_the_example_is_listed_and_shown(example: Path, tmp_path: Path) -> None:
    listed = _python(example, "-m", "dlframe", "ls", "--json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    mine = [row for row in json.loads(listed.stdout) if row["id"].startswith("example/")]
    kinds = ["architecture", "activation", "loss", "optimizer", "regularizer"]
    assert [row["kind"] for row in mine] == kinds
    plugins = _python(example, "-m", "dlframe", "plugins", cwd=tmp_path)
    (line,) = (line for line in plugins.stdout.splitlines() if line.startswith("example"))
    assert "0.1.0" in line
    assert line.endswith("ok: 1 architecture, 1 activation, 1 loss, 1 optimizer, 1 regularizer")
    shown = _python(example, "-m", "dlframe", "show", "optimizer/lion", cwd=tmp_path)
    assert "optimizer.lr=0.0003" in shown.stdout
    assert "dlframe-example 0.1.0" in shown.stdout


def test_the_example_passes_its_checks(example: Path, tmp_path: Path) -> None:
    tests = str(EXAMPLE / "tests" / "test_example.py")
    done = _python(example, "-m", "dlframe", "check", "example", "--tests", tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 0 failed")


@pytest.mark.slow
def test_the_examples_own_tests_pass(example: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    done = _python(
        example, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_a_new_package_passes_its_own_tests(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"my_{kind}"
    assert main(["new", kind, name, "--folder", str(tmp_path)]) == 0
    package = tmp_path / f"dlframe-my-{kind}"
    printed = capsys.readouterr().out
    assert f"dlframe check {name} --tests tests/test_{name}.py" in printed
    _pip_install(tmp_path / "site", package)
    script = (
        "import sys, pytest; from dlframe.cli.main import main\n"
        f"tests = 'tests/test_{name}.py'\n"
        "code = pytest.main(['-q', '-W', 'error', '-p', 'no:cacheprovider', tests])\n"
        f"sys.exit(code or main(['check', {name!r}, '--tests', tests]))\n"
    )
    done = _python(tmp_path / "site", "-c", script, cwd=package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: 1 components" in done.stdout
    assert " passed" in done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_template_is_complete(kind: str, tmp_path: Path) -> None:
    assert main(["new", kind, "acme_part", "--folder", str(tmp_path)]) == 0
    package = tmp_path / "dlframe-acme-part"
    files = {str(p.relative_to(package)): p.read_text() for p in package.rglob("*") if p.is_file()}
    assert set(files) == {
        "README.md",
        "pyproject.toml",
        "src/dlframe_acme_part/__init__.py",
        "src/dlframe_acme_part/acme_part.py",
        "src/dlframe_acme_part/py.typed",
        "tests/test_acme_part.py",
    }
    assert not any("$" in text for text in files.values())
    assert 'acme_part = "dlframe_acme_part"' in files["pyproject.toml"]
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    assert ruff is not None
    third_party = ["--config", 'lint.isort.known-third-party=["dlframe"]']
    for command in (["check", "--select", "E,F,I,UP,B", *third_party], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *command, "--isolated", "--line-length", "100", package],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activation", "Snake"], "lower-case"),
        (["activation", "my-act"], "lower-case"),
        (["activation", "lambda"], "no word of Python's own"),
        (["activation", "../up"], "lower-case"),
        (["activation", "dlframe"], "dlframe's own"),
        (["activation", "relu"], "built-in activation called 'relu'"),
        (["activaton", "wave"], "did you mean 'activation'"),
    ],
)
def test_bad_names_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments, "--folder", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dlframe-wave").mkdir()
    assert main(["new", "loss", "wave", "--folder", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "dlframe-wave").iterdir()) == []


def test_check_refuses_a_file_that_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "dlframe", "--tests", "nowhere.py"]) == 1
    assert "no Python file with tests is at 'nowhere.py'" in capsys.readouterr().err
