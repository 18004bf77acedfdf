"""Every command and every example of the README does what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import dlframe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# What sets up an environment; the test command and the build of the package cover it.
SET_UP = ("make demo", "make test", "pip install -c constraints.txt -e .", "uv pip install")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def _commands() -> list[str]:
    lines = [line.strip() for block in _blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(SET_UP)]


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _run_again(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command whose name a shell has run before, which spares it the imports."""
    name, *words = shlex.split(command, comments=True)
    assert name == "dlframe"
    assert not re.search("[|&;<>$`]", command.partition("#")[0]), "that takes a shell"
    return dlframe(*words, cwd=folder)


@pytest.mark.timeout(900)
def test_commands_run_in_the_order_they_are_read(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    skipped = []
    known: set[str] = set()
    for command in _commands():
        if "../shared/data" in command:
            beside = ROOT.parent / "shared" / "data"
            data = Path(os.environ.get("DLFRAME_TEST_DATA", beside))
            if not data.is_dir():
                skipped.append(command)
                continue
            command = command.replace("../shared/data", str(data))
        name = " ".join(command.split()[:2])
        done = (_run_again if name in known else _run)(command, tmp_path)
        known.add(name)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if command.startswith("dlframe train --cfg"):
            assert "component: dlframe/mlp" in done.stdout
    assert (tmp_path / "predictions.csv").read_text().startswith("prediction,")
    if skipped:
        pytest.skip(f"no real data beside the project for: {', '.join(skipped)}")


def test_python_example_runs(tmp_path: Path) -> None:
    (block,) = _blocks("python")
    done = _run(
        f"python - <<'END'\n{block}\nprint(len(run.history), model.spec.input)\nEND", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "image"]


def test_the_typo_is_answered_as_the_text_says(tmp_path: Path) -> None:
    done = _run("dlframe train optimizer.lrr=1", tmp_path)
    assert "dlframe/adam has no option 'lrr'; did you mean 'lr'?" in done.stderr
    assert "dlframe/adam has no option 'lrr';" in README


def test_links_and_files_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    reading = README.split("## Read the source")[1]
    for path in re.findall(r"`([\w/]+(?:\.py|/))`", reading):
        assert any((base / path).exists() for base in (ROOT, ROOT / "dlframe")), path


def test_make_knows_the_commands_of_the_readme() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in ("demo", "test"):
        assert f"make {target} " in README
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
