"""Hydra's config groups, answered from the registry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from dlframe.config.options import REQUIRED, Option
from dlframe.config.settings import SETTINGS
from dlframe.config.source import ComponentSearchPath, ComponentSource, node_of, register, searching
from dlframe.errors import AmbiguousNameError, ComponentNotFoundError
from dlframe.plugin import KINDS, Component, registry

pytest_plugins = ["config_fixtures"]
Add = Callable[..., None]


@pytest.fixture
def source() -> ComponentSource:
    return ComponentSource(provider="test", path="dlframe://components")


# Hydra's own suite for sources (hydra.test_utils.config_source_common_tests) asks for files that it
# brings along; what it asks of them is asked here of the groups that the registry answers.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", True),
        *[(group, True) for group in (*KINDS, *SETTINGS)],
        ("optimizer/", True),
        ("optimizer/adam", False),
        ("optimizer/adam.yaml", False),
        ("not_found", False),
    ],
)
def test_is_group(source: ComponentSource, path: str, expected: bool) -> None:
    assert source.is_group(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", False),
        ("optimizer", False),
        ("optimizer/adam", True),
        ("optimizer/adam.yaml", True),
        ("optimizer/adam.foobar", False),
        ("optimizer/dlframe/adam", True),
        ("optimizer/acme/adam", False),
        ("loss/auto", True),
        ("task/auto", True),
        ("optimizer/auto", False),
        ("trainer/default", True),
        ("trainer/gpu", False),
        ("not_found", False),
        ("not/found", False),
    ],
)
def test_is_config(source: ComponentSource, path: str, expected: bool) -> None:
    assert source.is_config(path) == expected


@pytest.mark.parametrize(
    ("path", "results_filter", "expected"),
    [
        ("", ObjectType.GROUP, [*KINDS, *SETTINGS]),
        ("", ObjectType.CONFIG, []),
        ("", None, [*KINDS, *SETTINGS]),
        ("optimizer", ObjectType.GROUP, []),
        ("trainer", ObjectType.CONFIG, ["default"]),
        ("trainer", None, ["default"]),
        ("not_found", None, []),
    ],
)
def test_list(
    source: ComponentSource, path: str, results_filter: ObjectType | None, expected: list[str]
) -> None:
    assert source.list(path, results_filter) == sorted(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("results_filter", [ObjectType.CONFIG, None])
def test_list_holds_all_names_of_a_kind(
    source: ComponentSource, kind: str, results_filter: ObjectType | None
) -> None:
    found = source.list(kind, results_filter)
    assert found == sorted(registry().names(kind))
    assert all(source.is_config(f"{kind}/{name}") for name in found)


@pytest.mark.parametrize(
    "path", [f"{e.kind}/{e.component.name}" for e in registry().entries() if e.plugin == "dlframe"]
)
def test_every_built_in_loads_with_all_its_options(source: ComponentSource, path: str) -> None:
    loaded = source.load_config(path)
    kind, _, name = path.partition("/")
    content = OmegaConf.to_container(loaded.config)
    assert isinstance(content, dict)
    assert content["component"] == f"dlframe/{name}"
    assert loaded.header["package"] == (f"regularizer.{name}" if kind == "regularizer" else None)
    assert loaded.provider == "test"
    assert source.load_config(f"{path}.yaml").config == loaded.config


@pytest.mark.parametrize("path", ["optimizer", "optimizer/adm", "not_found", "trainer/gpu", ""])
def test_what_is_not_there_is_not_loaded(source: ComponentSource, path: str) -> None:
    with pytest.raises(ConfigLoadError, match="no config is at"):
        source.load_config(path)


def test_the_source_is_always_there(source: ComponentSource) -> None:
    assert source.available()
    assert source.scheme() == "dlframe"


def test_a_component_brings_its_choices_for_other_kinds(source: ComponentSource) -> None:
    content = source.load_config("architecture/autoencoder").config
    assert content["defaults"] == ["_self_", {"override /task@_global_.task": "reconstruction"}]
    assert "defaults" not in source.load_config("architecture/mlp").config


def test_a_shared_name_is_a_config_whose_loading_names_both(
    add: Add, source: ComponentSource
) -> None:
    for plugin in ("acme", "globex"):
        add(
            "activation", Component(name="wave", target="torch.nn:Tanh", summary="s"), plugin=plugin
        )
    assert source.is_config("activation/wave")
    assert source.is_config("activation/acme/wave")
    with pytest.raises(
        AmbiguousNameError, match=r"activation=acme/wave and activation=globex/wave"
    ):
        source.load_config("activation/wave")
    content = source.load_config("activation/acme/wave").config
    assert content == {"component": "acme/wave"}
    names = source.list("activation", ObjectType.CONFIG)
    assert {"acme/wave", "globex/wave"} <= set(names)
    assert "wave" not in names


def test_a_plugins_component_is_known_by_its_id(add: Add, source: ComponentSource) -> None:
    assert not source.is_config("optimizer/acme/plain")
    add("optimizer", Component(name="plain", target="torch.optim:SGD", summary="s"))
    content = source.load_config("optimizer/acme/plain").config
    assert content["component"] == "acme/plain"
    assert content["momentum"] == 0
    content["momentum"] = 0.9  # annotated float, though the default is an integer
    with pytest.raises(ComponentNotFoundError):
        registry().find("optimizer", "acme/plan")


@pytest.mark.parametrize(
    ("hint", "default", "good", "bad"),
    [
        (float, 0, 0.5, "x"),
        (int, 1, 2, 1.5),
        (bool, False, True, "maybe"),
        (float | None, None, 0.5, "x"),
        (str, "a", "b", None),
    ],
)
def test_a_typed_node_refuses_another_type(hint: Any, default: Any, good: Any, bad: Any) -> None:
    config = OmegaConf.create({"x": node_of(Option("x", hint, default))})
    assert config.x == default
    config.x = good
    assert config.x == good
    with pytest.raises(ValidationError):
        config.x = bad


def test_a_required_option_is_missing_until_it_is_set() -> None:
    config = OmegaConf.create({"x": node_of(Option("x", str, REQUIRED))})
    assert OmegaConf.is_missing(config, "x")


def test_registering_twice_is_harmless() -> None:
    register()
    register()
    found = [p for p in Plugins.instance().discover(ConfigSource) if p is ComponentSource]
    assert len(found) == 1


def test_the_users_folder_comes_first_and_the_registry_last(tmp_path: Path) -> None:
    def providers() -> list[str]:
        path = ConfigSearchPathImpl()
        path.append("hydra", "pkg://hydra.conf")
        path.append("main", "file:///conf")
        ComponentSearchPath().manipulate_search_path(path)
        return [element.provider for element in path.get_path()]

    assert providers() == ["hydra", "main", "dlframe"]
    with searching(tmp_path):
        assert providers() == ["user", "hydra", "main", "dlframe"]
    assert providers() == ["hydra", "main", "dlframe"]
