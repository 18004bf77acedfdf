"""The check of a whole config: values, and parts that exclude each other."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

import dlframe
from dlframe.config.options import REQUIRED
from dlframe.config.signature import load
from dlframe.config.validate import chosen, complete, effective, validate
from dlframe.errors import BrokenPluginError, ComponentNotFoundError, ConfigError, DlframeError
from dlframe.plugin import Component, registry

pytest_plugins = ["config_fixtures"]
Add = Callable[..., None]
DEFAULT = dlframe.compose()


def changed(key: str, value: Any) -> dict[str, Any]:
    """The default config with one value, at a dotted key, set or (with ``...``) removed."""
    config: dict[str, Any] = copy.deepcopy(DEFAULT)
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return config


def test_a_valid_config_stays_as_it_is() -> None:
    assert validate(DEFAULT) == DEFAULT
    assert validate(OmegaConf.create(DEFAULT)) == DEFAULT


def test_the_callers_config_is_left_alone() -> None:
    config = changed("optimizer", {"component": "adam"})
    before = copy.deepcopy(config)
    validate(config)
    assert config == before


def test_short_configs_are_completed() -> None:
    short = {
        "architecture": {"component": "mlp", "hidden": [8]},
        **{kind: {"component": name} for kind, name in (
            ("activation", "relu"), ("optimizer", "sgd"), ("initializer", "default"),
            ("scheduler", "constant"), ("data", "diabetes"), ("task", "regression"),
            ("loss", "mae"))},
        "regularizer": {"l2": {"component": "l2"}},
    }  # fmt: skip
    found = validate(short)
    assert found["seed"] == 0
    assert found["architecture"]["hidden"] == (8,)
    assert found["trainer"] == DEFAULT["trainer"]
    assert found["tracking"] == DEFAULT["tracking"]
    assert found["regularizer"]["l2"]["component"] == "dlframe/l2"
    for kind in ("optimizer", "data"):
        options = load(registry().find(kind, found[kind]["component"])).options
        defaults = {o.name: o.default for o in options}
        assert found[kind] == {"component": found[kind]["component"], **defaults}
        assert REQUIRED not in defaults.values()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("seed", "x", "seed must be int >= 0 and < 4294967296; got 'x' (str)"),
        ("optimizer.lr", -1, "optimizer.lr must be float > 0; got -1"),
        ("optimizer.lrr", 1, "dlframe/adam has no option 'lrr'; did you mean 'lr'?"),
        ("optimizer", None, "a run needs one optimizer; choose one with optimizer=<name>"),
        ("optimizer", ..., "a run needs one optimizer; choose one with optimizer=<name>"),
        ("optimizer", "adam", "optimizer must name a component; got 'adam'"),
        ("optimizer.component", ..., "optimizer must name a component; got {'lr': 0.001"),
        ("trainer.max_epochs", 1.5, "trainer.max_epochs must be -1 | int >= 1"),
        ("trainer.epochs", 1, "trainer has no option 'epochs'; did you mean 'max_epochs'"),
        ("optimiser", {}, "there is no option 'optimiser'; did you mean 'optimizer'?"),
        ("regularizer", {"l2": {"weight": 1}}, "regularizer.l2 must name a component"),
        ("regularizer", {"l2": {"component": "l2", "weight": -1}}, "regularizer.l2.weight must be"),
        ("data", {"component": "csv"}, "dlframe/csv needs data.path"),
        ("data", {"component": "csv", "path": "???"}, "set data.path=<str>"),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(changed(key, value))
    assert words in str(caught.value)


def test_an_unknown_component_is_refused() -> None:
    with pytest.raises(ComponentNotFoundError, match="no optimizer is called 'adm'"):
        validate(changed("optimizer.component", "adm"))


def test_only_names_are_taken_never_targets() -> None:
    with pytest.raises(ConfigError, match="optimizer must name a component"):
        validate(changed("optimizer", {"_target_": "os.system", "command": "true"}))
    with pytest.raises(ComponentNotFoundError, match="no optimizer is called 'os:system'"):
        validate(changed("optimizer", {"component": "os:system"}))


def test_interpolations_are_resolved_or_reported_in_one_line() -> None:
    config = OmegaConf.create(changed("data.split_seed", "${seed}") | {"seed": 4})
    assert validate(config)["data"]["split_seed"] == 4
    config.data.split_seed = "${nowhere}"
    with pytest.raises(ConfigError, match="Interpolation key 'nowhere' not found") as caught:
        validate(config)
    assert "\n" not in str(caught.value)


# --- what fits together ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=mae"], "loss=mae is for regression or reconstruction, but the task is classification; "
         "what fits: binary_cross_entropy, cross_entropy, focal, hinge, kl"),
        (["architecture=autoencoder", "task=classification"], "architecture=autoencoder is for "
         "reconstruction, but the task is classification; what fits: "),
        (["architecture=cnn", "data=wine"], "architecture=cnn takes image, but data=wine gives "
         "features; what fits: "),
        (["data=diabetes", "task=classification"], "data=diabetes is for regression, but the task is "
         "classification; data for it: "),
        (["regularizer=augment", "data=iris"], "regularizer=augment takes image, but data=iris gives "
         "features; what fits: "),
        (["regularizer=mixup", "architecture=gan"], "regularizer=mixup is for classification or "
         "regression, but the task is generation; what fits: "),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_say_why_and_what_would(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dlframe.compose(*overrides)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "fits", "misfits"),
    [
        (["architecture=autoencoder", "task=classification"], {"cnn", "mlp"}, {"gan", "dlinear"}),
        (["architecture=cnn", "data=wine"], {"mlp", "ft_transformer"}, {"cnn", "resnet", "last_value"}),
        (["data=diabetes", "task=classification"], {"csv", "digits"}, {"diabetes", "timeseries_csv"}),
        (["architecture=dlinear", "data=wine"], {"mlp"}, {"dlinear"}),
    ],
)  # fmt: skip
def test_all_that_fits_is_named_and_nothing_else(
    overrides: list[str], fits: set[str], misfits: set[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        dlframe.compose(*overrides)
    named = re.split(r"what fits: |data for it: |; or choose", str(caught.value))[1].split(", ")
    assert fits <= set(named)
    assert not misfits & set(named)


def test_what_fits_does_fit() -> None:
    with pytest.raises(ConfigError) as caught:
        dlframe.compose("data=diabetes", "loss=cross_entropy")
    fitting = str(caught.value).partition("what fits: ")[2].split(", ")
    assert len(fitting) > 3
    for name in fitting:
        assert dlframe.compose("data=diabetes", f"loss={name}")["loss"]["component"].endswith(name)


@pytest.mark.parametrize("data", ["digits", "iris", "diabetes"])
def test_a_task_without_labels_takes_any_data(data: str) -> None:
    assert dlframe.compose(f"data={data}", "architecture=autoencoder")["task"] == {
        "component": "dlframe/reconstruction"
    }


def test_a_loss_that_only_the_data_can_refuse_is_refused_when_it_is_known() -> None:
    config = dlframe.compose("data=csv", "data.path=x.csv", "loss=mae")
    completed = complete(config, "regression")
    assert completed["task"]["component"] == "dlframe/regression"
    assert completed["loss"]["component"] == "dlframe/mae"
    assert config["task"]["component"] == "auto", "the caller's config was changed"
    with pytest.raises(ConfigError, match="loss=mae is for regression or reconstruction, but"):
        complete(config, "classification")


def test_the_loss_follows_the_task_with_all_its_options() -> None:
    config = dlframe.compose("data=csv", "data.path=x.csv")
    completed = complete(config, "classification")
    assert completed["loss"] == DEFAULT["loss"]
    assert complete(completed, "classification") == completed


def test_a_task_of_a_plugin_may_name_no_loss(add: Add) -> None:
    add("task", Component(name="ranking", target="acme:Ranking", summary="s"))
    config = dlframe.compose("data=csv", "data.path=x.csv")
    with pytest.raises(BrokenPluginError, match="task 'acme/ranking' cannot be loaded"):
        complete(config, "ranking")
    config["task"] = {"component": "acme/ranking"}
    with pytest.raises(ConfigError, match="task 'acme/ranking' names no loss; choose one with"):
        complete(config, "ranking")
    with pytest.raises(DlframeError, match="no task is called 'rank'"):
        complete(dlframe.compose("data=csv", "data.path=x.csv"), "rank")


# --- what is recorded -----------------------------------------------------------------------------


def test_chosen_lists_every_component() -> None:
    config = dlframe.compose("regularizer=[l2,dropout]")
    found = {key: entry.id for key, entry in chosen(config)}
    assert found["regularizer.l2"] == "dlframe/l2"
    assert found["regularizer.dropout"] == "dlframe/dropout"
    assert found["loss"] == "dlframe/cross_entropy"
    assert len(found) == 10


def test_effective_params_are_the_leaves_that_decide_a_result() -> None:
    config = dlframe.compose(
        "regularizer=[l2,dropout]", "regularizer.l2.weight=0.5", "architecture.hidden=[8,4]",
        "seed=3", "trainer.max_epochs=2", "trainer.progress=off", "tracking.tags={a:1}",
    )  # fmt: skip
    flat = effective(config)
    expected = {
        "architecture": "mlp",
        "architecture.hidden": "[8, 4]",
        "optimizer": "adam",
        "optimizer.lr": 1e-3,
        "optimizer.betas": "[0.9, 0.999]",
        "regularizer.l2": "l2",
        "regularizer.l2.weight": 0.5,
        "regularizer.dropout.p": 0.5,
        "seed": 3,
        "trainer.max_epochs": 2,
        "data.batch_size": 64,
    }
    assert {key: flat[key] for key in expected} == expected
    assert not [key for key in flat if key.startswith("tracking") or key.endswith("component")]
    assert "trainer.progress" not in flat
    assert not any(isinstance(value, (dict, list, tuple)) for value in flat.values())


def test_a_component_of_a_shared_name_is_recorded_by_its_id(add: Add) -> None:
    for plugin in ("acme", "globex"):
        add(
            "activation", Component(name="wave", target="torch.nn:Tanh", summary="s"), plugin=plugin
        )
    assert effective(dlframe.compose("activation=acme/wave"))["activation"] == "acme/wave"
    assert effective(dlframe.compose("activation=dlframe/tanh"))["activation"] == "tanh"
