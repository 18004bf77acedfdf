"""Searches on the command line: what Hydra composes of them, and what is refused before they begin."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

import dlframe
from dlframe.config.compose import compose, prepare
from dlframe.config.overrides import is_sweep
from dlframe.config.settings import SweepOptions
from dlframe.config.signature import dataclass_options, load
from dlframe.config.source import CONF, PARTS, ComponentSource, register, searching
from dlframe.config.validate import validate
from dlframe.errors import DlframeError
from dlframe.plugin import registry

PRESETS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))


def sweeper(*overrides: str, config_dir: Path | None = None) -> dict[str, Any]:
    """What Hydra makes its sweeper of."""
    register()
    with searching(config_dir), initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
    assert "sweep" not in config
    found = OmegaConf.to_container(config.hydra.sweeper)
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}


@pytest.fixture
def source() -> ComponentSource:
    return ComponentSource(provider="test", path="dlframe://components")


# --- what composes --------------------------------------------------------------------------------


def test_the_sweeper_has_all_options_of_a_search_with_their_defaults() -> None:
    found = sweeper("hydra/sweeper=optuna")
    assert found.pop("_target_") == "hydra_plugins.dlframe.OptunaSweeper"
    assert found.pop("pruner") == {"component": "auto"}
    tpe = load(registry().find("sampler", "tpe"))
    assert found.pop("sampler") == {
        "component": "dlframe/tpe",
        **{option.name: option.default for option in tpe.options},
    }
    assert found == {option.name: option.default for option in dataclass_options(SweepOptions)}


def test_options_of_a_search_are_set_like_any() -> None:
    found = sweeper(
        "hydra/sweeper=optuna", "hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler.sigma0=0.3",
        "hydra/sweeper/pruner=none", "hydra.sweeper.n_trials=60", "hydra.sweeper.objective=[a,b]",
        "+hydra.sweeper.params.optimizer.lr='interval(1,2)'", "hydra.sweeper.timeout=60",
    )  # fmt: skip
    assert found["sampler"]["component"] == "dlframe/cmaes"
    assert found["sampler"]["sigma0"] == 0.3
    assert found["pruner"] == {"component": "dlframe/none"}
    assert (found["n_trials"], found["timeout"], found["objective"]) == (60, 60.0, ["a", "b"])
    assert found["params"] == {"optimizer": {"lr": "interval(1,2)"}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.n_trials=many", "could not be converted to Integer"),
        ("hydra.sweeper.sampler.n_startup_trials=many", "could not be converted to Integer"),
        ("hydra.sweeper.auto=perhaps", "is not a valid bool"),
        ("hydra.sweeper.trials=3", "is not in struct"),
    ],
)
def test_a_value_of_another_type_does_not_compose(override: str, message: str) -> None:
    with pytest.raises(Exception, match=r"Error merging override|Could not override") as caught:
        sweeper("sweep=tpe", override)
    assert message in str(caught.value.__cause__ or caught.value)


def test_hydras_own_sweeper_is_the_one_without_a_search() -> None:
    for overrides in ([], ["hydra/sweeper=basic"], ["sweep=[]"]):
        assert sweeper(*overrides)["_target_"].endswith("BasicSweeper")


@pytest.mark.parametrize("kind", ["sampler", "pruner"])
def test_every_sampler_and_pruner_can_be_chosen(kind: str, source: ComponentSource) -> None:
    group = f"hydra/sweeper/{kind}"
    names = source.list(group, ObjectType.CONFIG)
    assert names == sorted(registry().names(kind))
    for name in (*names, "dlframe/" + names[0]):
        assert source.is_config(f"{group}/{name}")
        content = OmegaConf.to_container(source.load_config(f"{group}/{name}").config)
        assert isinstance(content, dict)
        entry = registry().find(kind, name)
        assert content == {
            "component": entry.id,
            **{option.name: option.default for option in load(entry).options},
        }
    assert sweeper("sweep=tpe", f"{group}={names[-1]}")[kind]["component"] == f"dlframe/{names[-1]}"


def test_the_groups_of_a_search_are_listed(source: ComponentSource) -> None:
    for group in ("hydra/sweeper", *PARTS):
        assert source.is_group(group)
        assert not source.is_config(group)
    assert source.list("hydra/sweeper", ObjectType.CONFIG) == ["optuna"]
    assert source.list("hydra/sweeper", ObjectType.GROUP) == ["pruner", "sampler"]
    assert source.list("hydra/sweeper", None) == ["optuna", "pruner", "sampler"]
    assert source.list("hydra/sweeper/sampler", ObjectType.GROUP) == []
    assert source.is_config("hydra/sweeper/optuna.yaml")
    assert source.is_config("hydra/sweeper/pruner/auto")
    assert not source.is_config("hydra/sweeper/sampler/auto")
    for path in ("hydra/sweeper/basic", "hydra/sweeper/sampler/tp", "hydra/launcher/basic"):
        with pytest.raises(ConfigLoadError, match="no config is at"):
            source.load_config(path)


def test_a_search_is_composed_and_checked_without_optuna() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False False"), done.stderr


_LIGHT = """
import sys
from dlframe.config.compose import prepare
from dlframe.config.signature import load
from dlframe.plugin import registry
prepare(["sweep=nsga2", "hydra.sweeper.sampler.population_size=9", "seed=1,2"], None, many=True)
for entry in (*registry().entries("sampler"), *registry().entries("pruner")):
    load(entry)
print("optuna" in sys.modules, "torch" in sys.modules)
"""


# --- presets --------------------------------------------------------------------------------------


def test_the_presets() -> None:
    assert PRESETS == [
        "auto",
        "cmaes",
        "gp",
        "grid",
        "hyperband",
        "nsga2",
        "random",
        "thorough",
        "tpe",
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_chooses_how_to_search_and_leaves_nothing_in_the_runs_config(name: str) -> None:
    for override in (f"sweep={name}", f"+sweep={name}", f"sweep=[{name}]"):
        found = sweeper(override)
        assert found["_target_"] == "hydra_plugins.dlframe.OptunaSweeper"
        if name in registry().names("sampler"):
            assert found["sampler"]["component"] == f"dlframe/{name}"
        for option in dataclass_options(SweepOptions):
            assert type(found[option.name]) in (type(option.default), int, type(None))
    assert compose([f"sweep={name}"]) == compose()
    assert validate(compose([f"sweep={name}"])) == dlframe.compose()


def test_presets_go_together() -> None:
    found = sweeper("sweep=[auto,hyperband]")
    assert found["auto"] is True
    assert found["pruner"]["component"] == "dlframe/hyperband"
    assert found["sampler"]["component"] == "dlframe/tpe"
    assert sweeper("+sweep=[auto,gp]")["sampler"]["component"] == "dlframe/gp"
    assert sweeper("sweep=[gp,random]")["sampler"] == {"component": "dlframe/random"}


def test_the_command_line_wins_over_a_preset() -> None:
    found = sweeper("sweep=grid", "hydra/sweeper/sampler=gp", "hydra.sweeper.n_trials=7")
    assert found["sampler"]["component"] == "dlframe/gp"
    assert found["n_trials"] == 7


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: optuna\n  - _self_\n"
        "hydra:\n  sweeper:\n    n_trials: 9\n    params:\n"
        "      optimizer.lr: interval(0.1,0.2)\n      activation: [relu, gelu]\n"
    )
    prepare(["sweep=[mine,auto]"], tmp_path, many=True)
    found = sweeper("sweep=[mine,auto]", config_dir=tmp_path)
    assert (found["n_trials"], found["auto"]) == (9, True)
    assert found["params"] == {"optimizer.lr": "interval(0.1,0.2)", "activation": ["relu", "gelu"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\nhydra:\n  sweeper:\n    n_trials: 9\n", "- override /hydra/sweeper: "),
        ("# @package _global_\n{}\n", "- override /hydra/sweeper: optuna"),
        ("hydra:\n  sweeper: {}\n", "must begin with the line '# @package _global_'"),
    ],
)  # fmt: skip
def test_a_preset_of_ones_own_that_lacks_something(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(text)
    with pytest.raises(DlframeError, match=message):
        prepare(["sweep=mine", "seed=1,2"], tmp_path, many=True)


# --- what is a search, and what is wrong with one -------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], False),
        (["seed=1,2"], False),
        (["sweep=tpe"], True),
        (["+sweep=auto"], True),
        (["seed=1", "sweep=[auto,hyperband]"], True),
        (["sweep=[]"], False),
        (["sweep="], False),
        (["hydra/sweeper=optuna"], True),
        (["hydra/sweeper=basic"], False),
        (["hydra.sweeper.n_trials=3"], False),
        (["tracking.run_name=sweep=tpe"], False),
    ],
)
def test_what_is_a_search(overrides: list[str], expected: bool) -> None:
    assert is_sweep(overrides) == expected


@pytest.mark.parametrize(
    "overrides",
    [
        ["sweep=tpe", "optimizer.lr=0.1,0.2"],
        ["sweep=tpe", "optimizer=adam,sgd", "optimizer.lr@sgd=0.1,0.2"],
        ["sweep=tpe", "architecture=mlp,cnn", "architecture.channels=[8],[16]"],
        ["sweep=tpe", "regularizer.l2.weight=interval(0.1,1)"],
        ["+sweep=auto", "hydra.sweeper.seed=null", "hydra/launcher=joblib"],
        ["hydra/sweeper=optuna", "hydra/sweeper/pruner=auto", "hydra.sweeper.direction=maximize"],
        ["sweep=tpe", "hydra.sweeper.enqueue=[{optimizer.lr: 0.1}]"],
        ["sweep=tpe", "hydra.sweeper.constraints=['a <= 1']"],
        ["hydra/sweeper=basic", "seed=1,2"],
        ["sweep=tpe", "optimizer.eps=1e-7", "++architecture.hidden=[8]", "architecture=mlp,rnn"],
    ],
)  # fmt: skip
def test_what_fits_passes(overrides: list[str]) -> None:
    prepare(overrides, None, many=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.sweeper.n_trails=5"], "has no option 'n_trails'; did you mean 'n_trials'"),
        (["hydra.sweeper.n_trials=many"], "hydra.sweeper.n_trials must be int >= 1 | null; got 'many'"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be int >= 1 | null; got 0"),
        (["hydra.sweeper.direction=minimise"], "did you mean 'minimize'"),
        (["hydra.sweeper.n_trials=1,2"], "one value; give it one; got 'hydra.sweeper.n_trials=1,2'"),
        (["hydra.job.name=a,b"], "hydra.job.name is for all runs of a command and has one value"),
        (["hydra/launcher=basic,joblib"], "hydra/launcher is for all runs of a command"),
        (["hydra/sweeper/sampler=tpe,random"], "hydra/sweeper/sampler is for all runs of a command"),
        (["sweep=auto,random"], "'sweep=[<one>,<other>]' combines them; got 'sweep=auto,random'"),
        (["hydra/sweeper/sampler=tp"], "no sampler is called 'tp'; did you mean 'tpe'"),
        (["hydra/sweeper/pruner=non"], "no pruner is called 'non'; did you mean 'none'"),
        (["hydra/sweeper/sampler=auto"], "no sampler is called 'auto'"),
        (["hydra/sweeper/sampler=[tpe]"], "hydra/sweeper/sampler must be chosen by name"),
        (["hydra/sweeper=optunna"], "no hydra/sweeper is called 'optunna'; did you mean 'optuna'"),
        (["hydra/sweeper=basic"], "leave sweep or hydra/sweeper=basic out"),
        (["hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler.sigm=1"],
         "dlframe/cmaes has no option 'sigm'; did you mean 'sigma0'"),
        (["hydra.sweeper.sampler.n_startup_trials=-1"], "n_startup_trials must be int >= 0; got -1"),
        (["hydra.sweeper.sampler=cmaes"], "is chosen by name; write hydra/sweeper/sampler=<name>"),
        (["hydra.sweeper.sampler.component=x"], "choose with hydra/sweeper/sampler=<name>"),
        (["hydra.sweeper.pruner.upper=1"], "auto has no option 'upper'; its options are none"),
        (["optimizer.rl=0.1"], "dlframe/adam has no option 'rl'"),
        (["optimizer.lr=x"], "optimizer.lr must be float > 0; got 'x'"),
        (["architecture=cnn,mlp", "architecture.channels=[8]"],
         "write 'architecture.channels=choice([8])'"),
        (["regularizer=[],[l2]", "regularizer.l2.weight=1"], "write 'regularizer.l2.weight=choice(1)'"),
        (["regularizer.l2.weight=1"], "regularizer 'l2' is not chosen; add it"),
        (["optimizer.lr@sgd=0.1"], "every group has its place"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_search_is_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(DlframeError) as caught:
        prepare(["sweep=tpe", *overrides], None, many=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep=tp"], "no sweep is called 'tp'; did you mean 'tpe'"),
        (["+sweep=atuo"], "no sweep is called 'atuo'; did you mean 'auto'"),
        (["sweep=[auto,hyperbnd]"], "no sweep is called 'hyperbnd'; did you mean 'hyperband'"),
        (["sweep=null"], "sweep=null says nothing"),
        (["hydra.sweeper.n_trials=5", "seed=1,2"], "an option of a search; begin one with sweep=tpe"),
        (["hydra.sweeper.sampler.sigma0=5", "seed=1,2"], "is an option of a search"),
        (["hydra/sweeper/sampler=tpe", "seed=1,2"], "is of a search; begin one with sweep=tpe"),
        (["optimizer.lr@sgd=0.1,0.2"], "every group has its place"),
        (["optimizer.lr=interval(0.1,1)"], "`dlframe train sweep=tpe 'optimizer.lr=interval(0.1,1)'`"),
    ],
)  # fmt: skip
def test_a_search_that_is_none_is_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(DlframeError) as caught:
        prepare(overrides, None, many=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
