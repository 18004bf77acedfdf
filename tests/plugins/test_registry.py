"""Discovery, names, conflicts and failures, over fake installed distributions."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import GOOD, HOOKS, install, on_path

from dlframe.errors import (
    AmbiguousNameError,
    BrokenPluginError,
    ComponentNotFoundError,
    DlframeError,
)
from dlframe.plugin import BUILTIN, Component, Registry, hookimpl

ONE = """
@hookimpl
def dlframe_activations():
    yield Component(name="{name}", target="m:N", summary="s")
"""

BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "exits": ("import sys\nsys.exit('bye')", "SystemExit: bye"),
    "missing": ("import a_module_that_is_not", "ModuleNotFoundError: No module named"),
    "syntax": ("def broken(:", "SyntaxError"),
    "twice": (
        HOOKS + "@hookimpl\ndef dlframe_losses():\n"
        "    for _ in range(2):\n        yield Component(name='a', target='m:A', summary='s')\n",
        "the loss 'a' is declared twice",
    ),
    "malformed": (
        HOOKS + "@hookimpl\ndef dlframe_losses():\n"
        "    yield Component(name='Not a name', target='m:A', summary='s')\n",
        "a component's name must be lower-case",
    ),
    "no_target": (
        HOOKS + "@hookimpl\ndef dlframe_losses():\n"
        "    yield Component(name='a', target='m.A', summary='s')\n",
        "must read 'package.module:Name'",
    ),
    "not_a_component": (
        HOOKS + "@hookimpl\ndef dlframe_losses():\n    yield 'a'\n",
        "dlframe_losses must yield dlframe.Component; got str",
    ),
    "unknown_hook": (
        HOOKS + "@hookimpl\ndef dlframe_activation():\n    return ()\n",
        "no hook is called 'dlframe_activation'; did you mean 'dlframe_activations'",
    ),
    "wrong_signature": (
        HOOKS + "@hookimpl\ndef dlframe_losses(model):\n    return ()\n",
        "PluginValidationError",
    ),
    "midway": (
        HOOKS + "@hookimpl\ndef dlframe_losses():\n"
        "    yield Component(name='a', target='m:A', summary='s')\n    raise KeyError('b')\n",
        "KeyError: 'b'",
    ),
    "not_iterable": (HOOKS + "@hookimpl\ndef dlframe_losses():\n    return 3\n", "TypeError"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "site"
    path.mkdir()
    with on_path(path):
        yield path


def test_a_good_plugin_is_found_with_its_provenance(folder: Path) -> None:
    install(folder, "good", GOOD)
    made = Registry()
    plugin = made.plugin("good")
    assert (plugin.distribution, plugin.version, plugin.status) == ("dlframe-good", "1.2.3", "ok")
    assert [entry.id for entry in plugin.entries] == ["good/swish"]
    assert made.find("activation", "swish") == made.find("activation", "good/swish")
    assert "dlframe_good_layers" not in sys.modules  # listing imported no target


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_reported_and_the_others_work(name: str, folder: Path) -> None:
    source, message = BROKEN[name]
    install(folder, name, source)
    install(folder, "good", GOOD)
    made = Registry()
    plugin = made.plugin(name)
    assert plugin.status == "broken"
    assert plugin.entries == ()
    line = plugin.explain()
    assert message in line
    assert f"dlframe-{name} 1.2.3" in line
    assert f"DLFRAME_BLOCK={name}" in line
    assert "\n" not in line
    assert made.plugin("good").status == "ok"
    assert made.find("activation", "good/swish").plugin == "good"
    assert made.find("activation", "relu").plugin == BUILTIN
    assert not made.knows("loss", f"{name}/a")
    with pytest.raises(BrokenPluginError, match=f"DLFRAME_BLOCK={name}") as caught:
        made.find("loss", f"{name}/a")
    assert caught.value.__cause__ is plugin.error


@pytest.mark.parametrize("name", BROKEN)
def test_strict_mode_raises_the_plugins_own_error(name: str, folder: Path) -> None:
    source, message = BROKEN[name]
    install(folder, name, source)
    with pytest.raises((Exception, SystemExit)) as caught:
        Registry(strict=True)
    assert message in f"{type(caught.value).__name__}: {caught.value}"


def test_a_name_nobody_has_names_the_broken_plugins(folder: Path) -> None:
    install(folder, "raises", BROKEN["raises"][0])
    with pytest.raises(ComponentNotFoundError, match=r"'swish'.*'raises' .* is broken"):
        Registry().find("activation", "swish")


def test_two_plugins_of_one_name(folder: Path) -> None:
    install(folder, "acme", HOOKS + ONE.format(name="first"), distribution="dlframe-acme")
    install(folder, "acme", HOOKS + ONE.format(name="second"), distribution="acme-too")
    made = Registry()
    both = [plugin for plugin in made.plugins if plugin.name == "acme"]
    assert sorted(plugin.status for plugin in both) == ["broken", "ok"]
    (broken,) = (plugin for plugin in both if plugin.status == "broken")
    assert "two plugins are called 'acme'" in broken.explain()
    assert broken.distribution in broken.explain()
    assert len(made.entries("activation")) == 1 + len(Registry(only=[]).entries("activation"))


def test_the_same_distribution_seen_twice_is_one_plugin(folder: Path, tmp_path: Path) -> None:
    install(folder, "good", GOOD)
    install(tmp_path / "other", "good", GOOD)
    with on_path(tmp_path / "other"):
        found = [plugin for plugin in Registry().plugins if plugin.name == "good"]
    assert [plugin.status for plugin in found] == ["ok"]


def test_a_builtins_short_name_stays_the_builtins(folder: Path) -> None:
    install(folder, "acme", HOOKS + ONE.format(name="relu"))
    made = Registry()
    assert made.find("activation", "relu").plugin == BUILTIN
    assert made.find("activation", "acme/relu").plugin == "acme"
    assert {"relu", "acme/relu"} <= set(made.names("activation"))
    (note,) = made.plugin("acme").notes
    assert "activation=acme/relu" in note


def test_a_shared_short_name_raises_alone(folder: Path) -> None:
    install(folder, "one", HOOKS + ONE.format(name="wave"))
    install(folder, "two", HOOKS + ONE.format(name="wave"))
    made = Registry()
    with pytest.raises(AmbiguousNameError, match="activation=one/wave and activation=two/wave"):
        made.find("activation", "wave")
    assert made.find("activation", "one/wave").plugin == "one"
    assert made.find("activation", "two/wave").plugin == "two"
    assert made.find("activation", "relu").plugin == BUILTIN
    assert {"one/wave", "two/wave"} <= set(made.names("activation"))
    assert "wave" not in made.names("activation")


def test_blocking_happens_before_import(folder: Path) -> None:
    install(folder, "exits", BROKEN["exits"][0])
    install(folder, "good", GOOD)
    for made in (Registry(block=["exits"]), Registry(only=["good"])):
        assert made.plugin("exits").status == "blocked"
        assert made.plugin("good").status == "ok"
    assert "dlframe_exits" not in sys.modules
    with pytest.raises(BrokenPluginError, match="'exits' is blocked"):
        made.find("loss", "exits/a")


def test_the_environment_chooses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder, "good", GOOD)
    install(folder, "raises", BROKEN["raises"][0])
    monkeypatch.setenv("DLFRAME_PLUGINS", "")
    made = Registry.from_environment()
    assert {plugin.status for plugin in made.plugins if plugin.name != BUILTIN} == {"blocked"}
    monkeypatch.setenv("DLFRAME_PLUGINS", "good, raises")
    monkeypatch.setenv("DLFRAME_BLOCK", "raises")
    monkeypatch.setenv("DLFRAME_STRICT_PLUGINS", "1")
    made = Registry.from_environment()
    assert made.plugin("good").status == "ok"
    assert made.plugin("raises").status == "blocked"
    monkeypatch.delenv("DLFRAME_BLOCK")
    with pytest.raises(RuntimeError, match="no licence"):
        Registry.from_environment()


def test_a_plugin_in_memory() -> None:
    class Plugin:
        @hookimpl
        def dlframe_activations(self) -> list[Component]:
            return [Component(name="wave", target="m:N", summary="s")]

    made = Registry(discover=False)
    added = made.add(Plugin(), "notebook")
    assert added.distribution == "(in memory)"
    assert made.find("activation", "wave").id == "notebook/wave"
    again = made.add(Plugin(), "notebook")  # as when a cell is run twice
    assert made.plugin("notebook") is again
    assert made.find("activation", "wave").id == "notebook/wave"
    with pytest.raises(DlframeError, match="two plugins are called 'dlframe'"):
        made.add(Plugin(), BUILTIN)
    assert [plugin.name for plugin in made.plugins] == [BUILTIN, "notebook"]
    with pytest.raises(DlframeError, match="did you mean 'notebook'"):
        made.plugin("notebok")
