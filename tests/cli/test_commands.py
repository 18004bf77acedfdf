"""Every command: its help, its output for people and for programs, and its exit code."""

import json
import os
import re
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cli_support import COMMAND, dlframe, environment, one_sentence

from dlframe.cli.main import COMMANDS, main
from dlframe.plugin import ALL_KINDS, registry

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, output and errors."""
    capsys.readouterr()
    try:
        code = main(list(words))
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(capsys: Capture, *words: str) -> Any:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command_with_examples(capsys: Capture, words: list[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    for name, text in COMMANDS.items():
        assert name in out
        assert text in out
    assert "dlframe train architecture=cnn" in out


def test_without_words_help_is_shown_and_nothing_was_done(capsys: Capture) -> None:
    code, out, _err = run(capsys)
    assert code == 2
    assert out.startswith("usage: dlframe <command>")


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(capsys: Capture, name: str, flag: str) -> None:
    code, out, err = run(capsys, name, flag)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: dlframe {name}")
    examples = out.partition("examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith(f"  dlframe {name}") for line in examples)


@pytest.mark.parametrize("name", ["ls", "show", "plugins"])
def test_the_examples_of_the_help_run(capsys: Capture, name: str) -> None:
    examples = run(capsys, name, "--help")[1].partition("examples:\n")[2].splitlines()
    for line in examples:
        words = shlex.split(line.partition(">")[0])
        code, out, err = run(capsys, *words[1:])
        assert (code, err) == (0, ""), line
        assert out


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(capsys: Capture, flag: str) -> None:
    assert run(capsys, flag) == (0, f"dlframe {version('dlframe')}\n", "")


@pytest.mark.parametrize(
    ("word", "words"),
    [("trian", "did you mean 'train'"), ("models", "`dlframe --help` lists all")],
)
def test_an_unknown_command_is_misuse(capsys: Capture, word: str, words: str) -> None:
    code, out, err = run(capsys, word)
    assert (code, out) == (2, "")
    assert f"there is no command {word!r}" in one_sentence(err)
    assert words in err


@pytest.mark.parametrize("words", [["ls", "--nonsense"], ["show"], ["predict", "x"]])
def test_wrong_arguments_are_misuse(capsys: Capture, words: list[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"usage: dlframe {words[0]}")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "ls"], cwd=tmp_path, env=environment(), stdout=writing, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


# --- ls -------------------------------------------------------------------------------------------


def test_ls_names_everything(capsys: Capture) -> None:
    code, out, err = run(capsys, "ls")
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == list(ALL_KINDS)
    for entry in registry().entries():
        assert f"  {entry.component.summary}" in out


@pytest.mark.parametrize("word", ["loss", "losses"])
def test_ls_of_one_kind(capsys: Capture, word: str) -> None:
    _code, out, _err = run(capsys, "ls", word)
    first, *lines = out.splitlines()
    assert first == f"{len(lines)} losses"
    assert [line.split()[0] for line in lines] == registry().names("loss")


def test_ls_as_json_gives_words_that_select(capsys: Capture) -> None:
    rows = as_json(capsys, "ls")
    assert len(rows) == sum(len(registry().entries(kind)) for kind in ALL_KINDS)
    for row in rows:
        assert registry().find(row["kind"], row["name"]).id == row["id"]
        assert set(row) == {
            "kind", "name", "id", "summary", "tasks", "inputs", "reference", "target",
        }  # fmt: skip


@pytest.mark.parametrize("task", ["regression", "dlframe/regression"])
def test_ls_for_one_task(capsys: Capture, task: str) -> None:
    names = {row["name"] for row in as_json(capsys, "ls", "loss", "--task", task)}
    assert "mse" in names
    assert "cross_entropy" not in names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ls", "los"], "there is no kind 'los'; did you mean 'loss'?"),
        (
            ["ls", "--task", "regresion"],
            "no task is called 'regresion'; did you mean 'regression'?",
        ),
        (["show", "optimizer"], "write kind/name, as in optimizer/adam; got 'optimizer'"),
        (["show", "optimiser/adam"], "did you mean 'optimizer'"),
        (["show", "optimizer/adm"], "no optimizer is called 'adm'; did you mean 'adam'"),
        (["show", "optimizer/acme/adam"], "no optimizer is called 'acme/adam'"),
        (["show", "trainr"], "did you mean 'trainer'"),
        (["check", "acme"], "no plugin is called 'acme'"),
        (["new", "los", "mine"], "there is no kind 'los'; did you mean 'loss'?"),
        (["test", "nowhere"], "no run answers to 'nowhere'"),
        (["predict", "nowhere", "x.csv"], "no run answers to 'nowhere'"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (1, "")
    assert said in one_sentence(err)
    assert list(tmp_path.iterdir()) == []


# --- show -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_show_of_every_component(capsys: Capture, kind: str) -> None:
    for entry in registry().entries(kind):
        for word in (entry.component.name, entry.id):
            found = as_json(capsys, "show", f"{kind}/{word}")
            assert found["id"] == entry.id
            assert found["summary"] == entry.component.summary
            assert found["from"].startswith("dlframe")
            for option in found["options"]:
                assert set(option) == {"name", "type", "required", "default", "range", "help"}
        code, out, err = run(capsys, "show", f"{kind}/{entry.component.name}")
        assert (code, err) == (0, "")
        assert out.startswith(f"{entry.id}: {entry.component.summary}")
        for option in found["options"]:
            assert f"{option['name']}=" in out
            assert option["help"].split()[0] in out


def test_show_says_types_defaults_ranges_and_meaning(capsys: Capture) -> None:
    _code, out, _err = run(capsys, "show", "optimizer/adam")
    assert "optimizer.lr=0.001    float > 0" in out
    assert "learning rate. (search 1e-05 to 0.1, log scale)" in " ".join(out.split())
    assert "optimizer.betas=[0.9, 0.999]    [float, float]" in out
    assert "arXiv:1412.6980" in out
    found = as_json(capsys, "show", "optimizer/adam")
    lr = next(option for option in found["options"] if option["name"] == "lr")
    assert (lr["default"], lr["type"], lr["range"]) == (1e-3, "float > 0", [1e-5, 0.1, "log"])


def test_show_of_a_regularizer_prints_the_key_to_type(capsys: Capture) -> None:
    assert "regularizer.dropout.p=0.5" in run(capsys, "show", "regularizer/dropout")[1]


def test_show_marks_required_options(capsys: Capture) -> None:
    assert "data.path=required" in run(capsys, "show", "data/csv")[1]
    found = as_json(capsys, "show", "data/csv")
    path = next(option for option in found["options"] if option["name"] == "path")
    assert (path["required"], path["default"]) == (True, None)


@pytest.mark.parametrize(("word", "key"), [("trainer", "max_epochs"), ("tracking", "root")])
def test_show_of_the_runs_own_options(capsys: Capture, word: str, key: str) -> None:
    assert f"{word}.{key}=" in run(capsys, "show", word)[1]
    options = as_json(capsys, "show", word)["options"]
    assert key in [option["name"] for option in options]
    assert all(option["help"] for option in options)


# --- plugins and doctor ---------------------------------------------------------------------------


def test_plugins_lists_the_built_in_one(capsys: Capture) -> None:
    code, out, err = run(capsys, "plugins")
    assert (code, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith("dlframe "))
    assert version("dlframe") in line
    assert re.search(r"ok: \d+ architectures, \d+ activations, \d+ losses", line)
    found = next(p for p in as_json(capsys, "plugins") if p["name"] == "dlframe")
    assert (found["status"], found["error"], found["eager"]) == ("ok", None, False)
    assert "activation/dlframe/relu" in found["components"]
    pinned = run(capsys, "plugins", "--requirements")[1].splitlines()
    assert f"dlframe=={version('dlframe')}" in pinned


def test_doctor_finds_this_machine_in_order(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    findings = as_json(capsys, "doctor")
    areas = [finding["area"] for finding in findings]
    assert {"version", "device", "store", "plugin"} == set(areas)
    texts = " ".join(finding["text"] for finding in findings)
    for name in (
        "python 3.",
        "torch ",
        "lightning ",
        "mlflow ",
        "cpu, ",
        "is writable",
        "dlframe ",
    ):
        assert name in texts
        assert name in out
    assert not [finding for finding in findings if finding["state"] == "error"]
    assert list(tmp_path.iterdir()) == [], "the doctor left something behind"


@pytest.mark.parametrize(
    ("words", "area", "remedy"),
    [
        (["--root", "file/runs"], "store", "choose another folder with tracking.root"),
        (["--uri", "http://127.0.0.1:9"], "store", "start the server, or choose another"),
    ],
)
def test_doctor_says_what_does_not_work_and_the_remedy(
    tmp_path: Path, words: list[str], area: str, remedy: str
) -> None:
    (tmp_path / "file").write_text("")
    done = dlframe("doctor", *words, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    [finding] = [f for f in json.loads(done.stdout) if f["state"] == "error"]
    assert finding["area"] == area
    assert remedy in finding["remedy"]
    assert "\n" not in finding["text"]


# --- train without training -----------------------------------------------------------------------


def test_cfg_prints_a_config_that_composes_again(capsys: Capture, tmp_path: Path) -> None:
    words = ["architecture=cnn", "optimizer.lr=3e-4", "regularizer=[l2,dropout]"]
    code, out, err = run(capsys, "train", *words, "--cfg", "job")
    assert (code, err) == (0, "")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "same.yaml").write_text(f"# @package _global_\n{out}")
    again = run(
        capsys, "train", "--config-dir", str(tmp_path), "experiment=same", "architecture=cnn",
        "regularizer=[l2,dropout]", "--cfg", "job",
    )  # fmt: skip
    assert again == (0, out, "")


@pytest.mark.parametrize("form", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_a_folder_of_ones_own(capsys: Capture, tmp_path: Path, form: list[str]) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "adam.yaml").write_text(
        "defaults:\n  - dlframe/adam\n  - _self_\nlr: 0.25\n"
    )
    words = [word.format(tmp_path) for word in form]
    code, out, err = run(capsys, "train", *words, "--cfg", "job")
    assert (code, err) == (0, "")
    assert "lr: 0.25" in out
    code, out, err = run(capsys, "train", *words, "optimizer.lrr=1", "--cfg", "job")
    assert "did you mean 'lr'" in one_sentence(err)


def test_options_may_stand_anywhere(capsys: Capture) -> None:
    words = [
        "optimizer=sgd",
        "--cfg",
        "job",
        "optimizer.lr=0.5",
        "--package",
        "optimizer",
        "seed=1",
    ]
    code, out, err = run(capsys, "train", *words)
    assert (code, err) == (0, "")
    assert "component: dlframe/sgd\nlr: 0.5\n" in out
    code, out, err = run(capsys, "train", "seed=1,2", "-m", "optimizer=sdg")
    assert (code, out) == (1, "")
    assert "no optimizer is called 'sdg'" in one_sentence(err)


@pytest.mark.parametrize(
    ("words", "shown"),
    [(("--hydra-help",), "--multirun"), (("--info", "searchpath"), "dlframe://components")],
)
def test_hydras_own_help(words: tuple[str, ...], shown: str, tmp_path: Path) -> None:
    """In a process of its own: Hydra sets the root logger up for it, and leaves it so."""
    done = dlframe("train", *words, cwd=tmp_path)
    assert done.returncode == 0
    assert shown in done.stdout
