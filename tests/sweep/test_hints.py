"""Commands that are printed: a shell and Hydra read in them what was meant."""

import shlex
from pathlib import Path

import pytest
from study_support import defined

from dlframe.config.overrides import parse
from dlframe.sweep.hints import about, train_best
from dlframe.sweep.storage import journal_of

_ODD = "my rüns #1 50% 'x'"


@pytest.mark.parametrize("name", ["mlp-digits", "odd näme 1", "it's"])
@pytest.mark.parametrize("root", ["runs", _ODD])
@pytest.mark.parametrize(
    "storage", [None, "sqlite:///my study.db", "postgresql://me@host:5432/a-b"]
)
def test_they_are_read_as_they_were_meant(
    name: str, root: str, storage: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    definition = defined(name=name, root=str(tmp_path / root))
    places = {"--root": str(tmp_path / root)} if root == _ODD else {}
    places |= {"--storage": storage} if storage else {}
    program, command, action, given, *options = shlex.split(about("best", definition, storage))
    assert (program, command, action, given) == ("dlframe", "study", "best", name)
    assert dict(zip(options[::2], options[1::2], strict=True)) == places
    program, command, given, *overrides = shlex.split(train_best(definition, storage))
    assert (program, command, given) == ("dlframe", "train", f"+from={name}")
    found = {parse(text).key_or_group: parse(text).value() for text in overrides}
    expected = {"tracking.root": str(tmp_path / root)} if root == _ODD else {}
    expected |= {"hydra.sweeper.storage": storage} if storage else {}
    assert found == expected


def test_the_usual_file_and_passwords_are_left_out(tmp_path: Path) -> None:
    definition = defined(root=str(tmp_path))
    usual = journal_of(definition.name, tmp_path)
    assert about("status", definition, usual) == about("status", definition, None)
    printed = about("status", definition, "postgresql://me:hunter2@host/studies")
    assert printed.endswith(" --storage postgresql://me@host/studies")
