"""``dlframe ls`` and ``dlframe show`` of what searches are made of."""

import json

import pytest

from dlframe.cli.main import main
from dlframe.config.settings import SweepOptions
from dlframe.config.signature import dataclass_options
from dlframe.plugin import registry

Capture = pytest.CaptureFixture[str]


def output(capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_show_sweep_says_all_options_of_a_search(capsys: Capture) -> None:
    shown = output(capsys, "show", "sweep")
    assert shown.startswith("sweep: How to search")
    for option in dataclass_options(SweepOptions):
        assert f"hydra.sweeper.{option.name}=" in shown
        assert option.help.split()[0] in shown
    found = json.loads(output(capsys, "show", "sweep", "--json"))
    assert [option["name"] for option in found["options"]] == [
        option.name for option in dataclass_options(SweepOptions)
    ]


def test_a_samplers_options_are_shown_as_they_are_set(capsys: Capture) -> None:
    assert "hydra.sweeper.sampler.n_startup_trials=10    int >= 0" in output(
        capsys, "show", "sampler/tpe"
    )
    assert "hydra.sweeper.pruner.min_resource=auto    int >= 1 | auto" in output(
        capsys, "show", "pruner/asha"
    )


@pytest.mark.parametrize("kind", ["sampler", "pruner"])
def test_ls_lists_them(capsys: Capture, kind: str) -> None:
    first, *lines = output(capsys, "ls", kind).splitlines()
    names = registry().names(kind)
    assert first == f"{len(names)} {kind}s"
    assert [line.split()[0] for line in lines] == names


def test_a_wrong_word_for_sweep_is_guessed(capsys: Capture) -> None:
    assert main(["show", "sweeps"]) == 1
    assert "did you mean 'sweep'?" in capsys.readouterr().err
