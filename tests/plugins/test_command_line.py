"""The command line keeps working whatever is installed."""

import json
from pathlib import Path

import pytest
from fakes import GOOD, HOOKS, dlframe, install

ONE = """
@hookimpl
def dlframe_activations():
    yield Component(name="{name}", target="{{module}}_layers:Swish", summary="s")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin of every sort."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "good", GOOD)
    install(folder, "raises", "raise RuntimeError('no licence')")
    install(folder, "exits", "import sys\nsys.exit(3)")
    install(folder, "eager", "import torch\n" + HOOKS + ONE.format(name="slow"))
    install(folder, "empty", "")
    install(folder, "clash", HOOKS + ONE.format(name="relu"))
    install(folder, "one", HOOKS + ONE.format(name="wave"))
    install(folder, "two", HOOKS + ONE.format(name="wave"))
    return folder


def test_plugins_works_in_every_state(site: Path) -> None:
    done = dlframe(site, "plugins", "--json", DLFRAME_BLOCK="one")
    assert done.returncode == 0, done.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert {name: plugin["status"] for name, plugin in found.items()} == {
        "dlframe": "ok",
        "clash": "ok",
        "eager": "ok",
        "empty": "ok",
        "exits": "broken",
        "good": "ok",
        "one": "blocked",
        "raises": "broken",
        "two": "ok",
    }
    assert [name for name, plugin in found.items() if plugin["eager"]] == ["eager"]
    assert found["raises"]["error"] == "RuntimeError: no licence"
    assert found["good"]["components"] == ["activation/good/swish"]
    told = [line for line in done.stderr.splitlines() if "'raises'" in line]
    assert told == [
        "dlframe: plugin 'raises' (dlframe-raises 1.2.3) is broken and was skipped: RuntimeError: "
        "no licence (block it with DLFRAME_BLOCK=raises)"
    ]


def test_text_lists_and_shows(site: Path) -> None:
    listed = dlframe(site, "ls", "activation")
    assert listed.returncode == 0, listed.stderr
    words = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert {"swish", "relu", "clash/relu", "one/wave", "two/wave"} <= set(words)
    table = dlframe(site, "plugins").stdout
    assert "imports torch" in next(line for line in table.splitlines() if line.startswith("eager"))
    assert "no components" in next(line for line in table.splitlines() if line.startswith("empty"))
    shown = dlframe(site, "show", "activation/swish").stdout
    assert "activation.beta=1.0" in shown
    assert "dlframe-good 1.2.3" in shown


def test_a_config_composes_beside_broken_plugins(site: Path) -> None:
    done = dlframe(
        site, "train", "activation=good/swish", "activation.beta=2", "--cfg", "job",
        DLFRAME_BLOCK="eager",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "component: good/swish" in done.stdout
    assert "beta: 2" in done.stdout


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("wave", "activation=one/wave and activation=two/wave"),
        ("raises/any", "RuntimeError: no licence (block it with DLFRAME_BLOCK=raises)"),
        ("eager/slow", "plugin 'eager' is blocked"),
        ("swihs", "did you mean 'swish'"),
    ],
)
def test_a_bad_choice_is_one_sentence(site: Path, choice: str, message: str) -> None:
    done = dlframe(site, "train", f"activation={choice}", "--cfg", "job", DLFRAME_BLOCK="eager")
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_empty_allow_list_loads_none(site: Path) -> None:
    done = dlframe(site, "plugins", "--json", DLFRAME_PLUGINS="")
    assert done.returncode == 0
    assert done.stderr == ""
    states = {plugin["name"]: plugin["status"] for plugin in json.loads(done.stdout)}
    assert states.pop("dlframe") == "ok"
    assert set(states.values()) == {"blocked"}


def test_strict_mode_stops(site: Path) -> None:
    done = dlframe(
        site, "ls", DLFRAME_STRICT_PLUGINS="1", DLFRAME_PLUGINS="raises"
    )  # fmt: skip
    assert done.returncode == 1
    assert "no licence" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "raises",
            "plugin 'raises' (dlframe-raises 1.2.3) is broken and was skipped: RuntimeError",
        ),
        ("empty", "provides no components"),
        ("exits", "SystemExit: 3"),
        ("nobody", "no plugin is called 'nobody'"),
    ],
)
def test_check_says_why_a_plugin_cannot_be_checked(site: Path, name: str, message: str) -> None:
    done = dlframe(site, "check", name)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_check_finds_an_eager_plugin(site: Path) -> None:
    done = dlframe(site, "check", "eager", "--json")
    assert done.returncode == 1, done.stderr
    failed = {
        row["check"]: row["reason"] for row in json.loads(done.stdout) if row["status"] == "failed"
    }
    assert set(failed) == {"listing_is_light"}
    assert "torch" in failed["listing_is_light"]
