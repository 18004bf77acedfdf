"""From overrides to a complete config, or to one sentence that names the remedy."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import dlframe
from dlframe.config.compose import compose, prepare
from dlframe.config.options import REQUIRED
from dlframe.config.signature import load
from dlframe.errors import ConfigError, DlframeError
from dlframe.plugin import KINDS, Component, registry

pytest_plugins = ["config_fixtures"]
Add = Callable[..., None]


def leaf(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


# --- what composes --------------------------------------------------------------------------------


def test_the_default_config_is_complete() -> None:
    config = dlframe.compose()
    assert {kind: config[kind].get("component") for kind in KINDS if kind != "regularizer"} == {
        "architecture": "dlframe/mlp",
        "activation": "dlframe/relu",
        "loss": "dlframe/cross_entropy",
        "optimizer": "dlframe/adam",
        "scheduler": "dlframe/constant",
        "initializer": "dlframe/default",
        "data": "dlframe/digits",
        "task": "dlframe/classification",
    }
    assert config["regularizer"] == {}
    assert config["seed"] == 0
    assert "hydra" not in config


def test_defaults_of_every_built_in_are_captured_in_full() -> None:
    kinds = [[e for e in registry().entries(kind) if e.plugin == "dlframe"] for kind in KINDS]
    for chosen in zip_longest(*kinds):  # one of each kind at a time: composing takes a while
        entries = [entry for entry in chosen if entry is not None]
        overrides = [f"{entry.kind}={entry.component.name}" for entry in entries]
        for entry in entries:
            needed = [o.name for o in load(entry).options if o.default is REQUIRED]
            overrides += [f"{entry.kind}.{name}=x" for name in needed]
        config = compose(overrides)
        for entry in entries:
            many = KINDS[entry.kind].many
            node = config[entry.kind][entry.component.name] if many else config[entry.kind]
            expected: dict[str, Any] = {"component": entry.id}
            for option in load(entry).options:
                default = "x" if option.default is REQUIRED else option.default
                expected[option.name] = list(default) if isinstance(default, tuple) else default
            assert OmegaConf.to_container(node) == expected


@pytest.mark.parametrize(
    ("overrides", "key", "expected"),
    [
        (["optimizer.lr=3e-4"], "optimizer.lr", 3e-4),
        (["optimizer.lr=.5"], "optimizer.lr", 0.5),
        (["optimizer.lr=1"], "optimizer.lr", 1.0),
        (["++optimizer.lr=0.1"], "optimizer.lr", 0.1),
        (["optimizer.lr=0.1", "optimizer.lr=0.2"], "optimizer.lr", 0.2),
        (["optimizer.amsgrad=true"], "optimizer.amsgrad", True),
        (["optimizer.amsgrad=yes"], "optimizer.amsgrad", True),
        (["optimizer.betas=[0.8,0.9]"], "optimizer.betas", (0.8, 0.9)),
        (["optimizer.betas=[0.8,1]"], "optimizer.betas", (0.8, 1.0)),
        (["architecture.hidden=[]"], "architecture.hidden", ()),
        (["architecture.hidden=[8, 8]"], "architecture.hidden", (8, 8)),
        (["optimizer=sgd", "optimizer.weight_decay=1"], "optimizer.weight_decay", 1.0),
        (["optimizer={lr:0.3}"], "optimizer.lr", 0.3),
        (["optimizer=dlframe/adam"], "optimizer.component", "dlframe/adam"),
        (["optimizer=sgd", "optimizer=adam"], "optimizer.component", "dlframe/adam"),
        (["~optimizer.lr"], "optimizer.lr", 1e-3),
        (["data.batch_size=all"], "data.batch_size", "all"),
        (["data.batch_size=1"], "data.batch_size", 1),
        (["data.limit=null"], "data.limit", None),
        (["seed=12"], "seed", 12),
        (["optimizer.lr=${optimizer.eps}"], "optimizer.lr", 1e-8),
        (["seed=3", "data.split_seed=${seed}"], "data.split_seed", 3),
        (["trainer.precision=bf16-mixed"], "trainer.precision", "bf16-mixed"),
        (["trainer.deterministic=warn"], "trainer.deterministic", "warn"),
        (["trainer.devices=[0,2]"], "trainer.devices", [0, 2]),
        (["trainer=cpu"], "trainer.accelerator", "cpu"),
        (["trainer=ddp_cpu", "trainer.devices=3"], "trainer.devices", 3),
        (["tracking.run_name=null"], "tracking.run_name", None),
        (["tracking.run_name='a b'"], "tracking.run_name", "a b"),
        (["tracking.root=/a/b-c_d.e"], "tracking.root", "/a/b-c_d.e"),
        (["tracking.tags={team:vision,n:3}"], "tracking.tags", {"team": "vision", "n": 3}),
        (["+tracking.tags.team=vision"], "tracking.tags", {"team": "vision"}),
        (["regularizer=l2"], "regularizer", {"l2": {"component": "dlframe/l2", "weight": 1e-4}}),
        (["regularizer=[]"], "regularizer", {}),
        (["regularizer=[l2,dropout]", "regularizer.l2.weight=1"], "regularizer.l2.weight", 1.0),
        (["regularizer=[dlframe/l2]", "regularizer.l2.weight=1"], "regularizer.l2.weight", 1.0),
        (["experiment=mnist_cnn"], "architecture.dense", (64,)),
        (["experiment=mnist_cnn", "data=digits"], "data.component", "dlframe/digits"),
        (["debug=one_batch"], "trainer.limit_train", 1),
    ],
)  # fmt: skip
def test_overrides_of_every_form(overrides: list[str], key: str, expected: Any) -> None:
    held = leaf(dlframe.compose(*overrides), key)
    assert held == expected
    assert type(held) is type(expected)


def test_regularizers_keep_their_order_and_their_own_packages() -> None:
    config = dlframe.compose(
        "regularizer=[dropout,l2,early_stopping]", "regularizer.dropout.p=0.3",
        "regularizer.early_stopping.patience=2",
    )  # fmt: skip
    assert list(config["regularizer"]) == ["dropout", "l2", "early_stopping"]
    assert config["regularizer"]["dropout"]["p"] == 0.3
    assert config["regularizer"]["early_stopping"]["patience"] == 2


@pytest.mark.parametrize(
    ("overrides", "task", "loss"),
    [
        ([], "classification", "cross_entropy"),
        (["data=diabetes"], "regression", "mse"),
        (["data=diabetes", "loss=mae"], "regression", "mae"),
        (["architecture=autoencoder"], "reconstruction", "mse"),
        (["architecture=autoencoder", "loss=binary_cross_entropy"], "reconstruction",
         "binary_cross_entropy"),
        (["architecture=gan"], "generation", "binary_cross_entropy"),
        (["architecture=autoencoder", "data=diabetes"], "reconstruction", "mse"),
        (["loss=focal"], "classification", "focal"),
        (["loss=focal", "architecture=cnn", "data=mnist"], "classification", "focal"),
        (["task=classification", "data=iris"], "classification", "cross_entropy"),
        (["data=csv", "data.path=x.csv", "task=regression"], "regression", "mse"),
    ],
)  # fmt: skip
def test_task_and_loss_follow_data_and_architecture(
    overrides: list[str], task: str, loss: str
) -> None:
    for order in (overrides, overrides[::-1]):
        config = dlframe.compose(*order)
        assert config["task"]["component"] == f"dlframe/{task}"
        assert config["loss"]["component"] == f"dlframe/{loss}"


def test_a_csv_leaves_task_and_loss_to_its_contents() -> None:
    config = dlframe.compose("data=csv", "data.path=x.csv")
    assert config["task"] == {"component": "auto"}
    assert config["loss"] == {"component": "auto"}


def test_composing_leaves_an_outer_hydra_as_it_was() -> None:
    assert not GlobalHydra.instance().is_initialized()
    dlframe.compose()
    assert not GlobalHydra.instance().is_initialized()
    with pytest.raises(ConfigError):
        dlframe.compose("optimizer=adm")
    assert not GlobalHydra.instance().is_initialized()


# --- the user's own YAML --------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of YAML files, with a space in its path."""
    folder = tmp_path / "my conf"
    files = {
        "optimizer/slow.yaml": "defaults:\n  - adamw\n  - _self_\nlr: 1e-6\n",
        "optimizer/adam.yaml": "component: adam\nlr: 0.5\n",
        "regularizer/held_back.yaml": "# @package _global_\ndefaults:\n"
        "  - override /regularizer: [l2, dropout]\n  - _self_\nregularizer:\n  l2:\n    weight: 1.0\n",
        "experiment/ours.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: slow\n"
        "  - override /architecture: cnn\n  - _self_\nseed: 7\n",
        "experiment/mnist_cnn.yaml": "# @package _global_\nseed: 9\n",
        "experiment/held_back.yaml": "# @package _global_\ndefaults:\n"
        "  - override /regularizer: [l2, dropout]\n  - _self_\nregularizer:\n  l2:\n    weight: 1.0\n",
        "size/small.yaml": "# @package _global_\narchitecture:\n  hidden: [8]\n",
        "experiment/wrong.yaml": "# @package _global_\narchitecture:\n  hiden: [8]\n",
        "experiment/alien.yaml": "# @package _global_\nnetwork: {layers: 3}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer=slow"], {"optimizer.component": "dlframe/adamw", "optimizer.lr": 1e-6,
                              "optimizer.weight_decay": 0.01}),
        (["optimizer=slow", "optimizer.lr=1"], {"optimizer.lr": 1.0}),
        (["optimizer=adam"], {"optimizer.lr": 0.5, "optimizer.component": "dlframe/adam",
                              "optimizer.eps": 1e-8}),
        ([], {"optimizer.lr": 0.5}),
        (["optimizer=dlframe/adam"], {"optimizer.lr": 1e-3}),
        (["optimizer=adam", "+optimizer.eps=1e-7"], {"optimizer.eps": 1e-7}),
        (["experiment=ours"], {"seed": 7, "optimizer.lr": 1e-6,
                               "architecture.component": "dlframe/cnn"}),
        (["experiment=ours", "seed=8"], {"seed": 8}),
        (["experiment=mnist_cnn"], {"seed": 9, "architecture.component": "dlframe/mlp"}),
        (["experiment=held_back"], {"regularizer.l2.weight": 1.0, "regularizer.dropout.p": 0.5}),
        (["experiment=[held_back,ours]"], {"seed": 7, "regularizer.l2.weight": 1.0}),
        (["+size=small"], {"architecture.hidden": (8,)}),
        (["experiment=regularized_mlp"], {"trainer.max_epochs": 50}),
    ],
)  # fmt: skip
def test_the_users_yaml_adds_to_the_groups_and_wins(
    mine: Path, overrides: list[str], expected: dict[str, Any]
) -> None:
    config = dlframe.compose(*overrides, config_dir=mine)
    assert {key: leaf(config, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer=slo"], "no optimizer is called 'slo'; did you mean 'slow'?"),
        (["experiment=our"], "no experiment is called 'our'; did you mean 'ours'?"),
        (["size=small"], "To append to your default list use +size=small"),
        (["optimizer.eps=1e-7"], "leaves out 'eps'; write '+optimizer.eps=1e-7', or begin the file "
         "with `defaults: [dlframe/adam, _self_]`"),
        (["optimizer.epps=1"], "adam has no option 'epps'; did you mean 'eps'?"),
        (["experiment=wrong"], "has no option 'hiden'; did you mean 'hidden'?"),
        (["experiment=alien"], "there is no option 'network'"),
    ],
)  # fmt: skip
def test_mistakes_in_and_about_the_users_yaml(mine: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dlframe.compose(*overrides, config_dir=mine)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="give --config-dir one that exists"):
        dlframe.compose(config_dir=tmp_path / name)


# --- plugins --------------------------------------------------------------------------------------


def test_a_plugins_component_by_its_short_name_and_its_id(add: Add) -> None:
    add("optimizer", Component(name="plain", target="torch.optim:SGD", summary="s"))
    for word in ("plain", "acme/plain"):
        config = dlframe.compose(f"optimizer={word}", "optimizer.lr=1")
        assert config["optimizer"]["component"] == "acme/plain"
        assert config["optimizer"]["lr"] == 1.0
        assert config["optimizer"]["nesterov"] is False


def test_a_plugins_regularizer_has_its_own_package(add: Add) -> None:
    target = "dlframe.components.regularizers.penalties:L2"
    add("regularizer", Component(name="stiff", target=target, summary="s"))
    config = dlframe.compose("regularizer=[l2,acme/stiff]", "regularizer.stiff.weight=2")
    assert config["regularizer"]["stiff"] == {"component": "acme/stiff", "weight": 2.0}


def test_a_name_of_two_plugins_must_be_told_apart(add: Add) -> None:
    for plugin in ("acme", "globex"):
        add(
            "activation", Component(name="wave", target="torch.nn:Tanh", summary="s"), plugin=plugin
        )
    with pytest.raises(DlframeError, match="activation=acme/wave and activation=globex/wave"):
        dlframe.compose("activation=wave")
    assert dlframe.compose("activation=globex/wave")["activation"]["component"] == "globex/wave"


def test_a_component_that_does_not_import_is_said(add: Add) -> None:
    add("activation", Component(name="wave", target="nowhere_at_all:Wave", summary="s"))
    with pytest.raises(
        DlframeError, match=r"activation 'acme/wave' cannot be loaded from 'nowhere"
    ):
        dlframe.compose("activation=wave")


# --- what does not compose ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lrr=1", "dlframe/adam has no option 'lrr'; did you mean 'lr'? its options are lr,"),
        ("optimizer=adm", "no optimizer is called 'adm'; did you mean 'adam'"),
        ("optimizer=acme/adam", "no optimizer is called 'acme/adam'; did you mean 'adam'"),
        ("optimizer=3", "no optimizer is called '3'; `dlframe ls optimizer` lists all"),
        ("optimizer=a/b", "no optimizer is called 'a/b'"),
        ("activation=[relu,tanh]", "sweep over several with `dlframe train -m activation=relu,tanh`"),
        ("activation=[relu]", "a run has one activation; got ['relu']"),
        ("optimizer=[adam,sgd]", "sweep over several with `dlframe train -m optimizer=adam,sgd`"),
        ("optimizer=adam,sgd", "run one job for each with `dlframe train -m optimizer=adam,sgd`"),
        ("optimizer=null", "a run needs one optimizer; choose one with optimizer=<name>"),
        ("optimizer=", "no optimizer is called ''"),
        ("~optimizer", "a run needs one optimizer"),
        ("optimizer.lr=fast", "optimizer.lr must be float > 0; got 'fast' (str)"),
        ("optimizer.lr=-1", "optimizer.lr must be float > 0; got -1"),
        ("optimizer.lr=nan", "optimizer.lr must be float > 0; got nan (float)"),
        ("optimizer.lr=null", "optimizer.lr must be float > 0; got null"),
        ("optimizer.lr=", "optimizer.lr must be float > 0; got ''"),
        ("optimizer.lr", "an override reads key=value; got 'optimizer.lr'"),
        ("optimizer.lr=[1", "the override 'optimizer.lr=[1' is not well formed"),
        ("a b=3", "the override 'a b=3' is not well formed"),
        ("=3", "an override reads key=value; got '=3', which has no key"),
        ("optimizer.lr.x=3", "optimizer.lr is float > 0 and has no part 'optimizer.lr.x'"),
        ("optimizer.betas=0.9", "got 0.9 (float); write a list as [a,b]"),
        ("optimizer.betas=[0.9]", "optimizer.betas must be [float, float]; got [0.9] (list)"),
        ("optimizer.component=foo", "optimizer.component is not to be set; choose with optimizer=<n"),
        ("optimizer@x=adam", "write optimizer=<name> instead of 'optimizer@x=adam'"),
        ("optimizer/x=adam", "there is no group 'optimizer/x'; the groups are architecture,"),
        ("optimizer.lr=0.1,0.2", "run one job for each with `dlframe train -m optimizer.lr=0.1,0.2`"),
        ("optimizer.lr=range(1,3)", "optimizer.lr has several values"),
        ("optimizer.lr=${nowhere}", "optimizer.lr must be float > 0; got '${nowhere}'"),
        ("tracking.run_name=${nowhere}", "the configuration cannot be resolved"),
        ("lr=0.1", "there is no option 'lr'; did you mean 'optimizer.lr'?"),
        ("batch_size=1", "there is no option 'batch_size'; did you mean 'data.batch_size'?"),
        ("epochs=1", "there is no option 'epochs'; did you mean 'trainer.max_epochs' or"),
        ("optimiser.lr=1", "there is no option 'optimiser.lr'; did you mean 'optimizer'"),
        ("+foo=1", "there is no option 'foo'; the groups are architecture,"),
        ("+optimizer.foo=3", "dlframe/adam has no option 'foo'"),
        ("++optimizer.foo=3", "dlframe/adam has no option 'foo'"),
        ("+experiment=mnist_cnn", "group experiment is there already; write 'experiment=mnist_cnn'"),
        ("experiment=null", "experiment=null says nothing; leave it out"),
        ("experiment=mnist", "no experiment is called 'mnist'; did you mean 'mnist_cnn'?"),
        ("debug=overfitting", "no debug is called 'overfitting'; did you mean 'overfit'?"),
        ("trainer=gpus", "no trainer is called 'gpus'; did you mean 'gpu' or 'cpu'? there are cpu,"),
        ("trainer.max_epochs=ten", "trainer.max_epochs must be -1 | int >= 1; got"),
        ("trainer.epochs=1", "trainer has no option 'epochs'; did you mean 'max_epochs'"),
        ("trainer.devices=0", "trainer.devices must be int >= 1 | auto | list of int; got 0 (int)"),
        ("trainer.precision=bf16-mixd", "got 'bf16-mixd' (str); did you mean 'bf16-mixed'"),
        ("tracking.tags=x", "tracking.tags must be mapping of any | null; got 'x' (str)"),
        ("tracking.tags.a=3", "write '+tracking.tags.a=3'"),
        ("seed=x", "seed must be int >= 0 and < 4294967296; got 'x' (str)"),
        ("seed=1.5", "seed must be int >= 0 and < 4294967296; got 1.5 (float)"),
        ("seed.x=1", "and has no part 'seed.x'; write seed=<value>"),
        ("activation.x=1", "dlframe/relu has no option 'x'; its options are none"),
        ("data=csv", "dlframe/csv needs data.path"),
        ("data.batch_size=0", "data.batch_size must be int >= 1 | all; got 0 (int)"),
        ("data.test=1.5", "data.test must be float > 0 and < 1; got 1.5 (float)"),
        ("architecture.hidden=[a]", "architecture.hidden must be list of int"),
        ("regularizer=[l3]", "no regularizer is called 'l3'"),
        ("regularizer={a:1}", "regularizer must be chosen by name"),
        ("regularizer.dropout.p=0.3", "regularizer 'dropout' is not chosen; add it: "
         "'regularizer=[dropout]'"),
        ("regularizer.drop.p=0.3", "no regularizer is called 'drop'; did you mean 'dropout'"),
        ("loss.gama=1", "dlframe/cross_entropy has no option 'gama'"),
        ("loss=mse", "loss=mse is for regression or reconstruction or generation, but the task is "
         "classification; what fits: "),
        ("architecture=autoencoder task=classification",
         "architecture=autoencoder is for reconstruction, but the task is classification; what fits: "),
        ("architecture=cnn data=iris", "architecture=cnn takes image, but data=iris gives features; "
         "what fits: "),
        ("task=regression", "data=digits is for classification, but the task is regression; data for "
         "it: "),
        ("regularizer=[label_smoothing] data=diabetes", "regularizer=label_smoothing is for "
         "classification, but the task is regression; what fits: "),
        ("regularizer=[cutmix] data=iris", "regularizer=cutmix takes image, but data=iris gives "
         "features; what fits: "),
        ("regularizer=[l2] regularizer.dropout.p=0.3", "add it: 'regularizer=[l2,dropout]'"),
        ("regularizer=[l2] regularizer.l2.weigt=1", "dlframe/l2 has no option 'weigt'; did you mean "
         "'weight'?"),
        ("hydra/launcher=jobli", "no launcher is called 'jobli'; did you mean 'joblib'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(override: str, words: str) -> None:
    overrides = [override] if override.startswith("a b") else override.split(" ")
    with pytest.raises(DlframeError) as caught:
        dlframe.compose(*overrides)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer=adam,sdg"], "no optimizer is called 'sdg'; did you mean 'sgd'"),
        (["optimizer.lr=0.1,x"], "optimizer.lr must be float > 0; got 'x'"),
        (["optimizer.lr=choice(0.1,x)"], "optimizer.lr must be float > 0; got 'x'"),
        (["optimizer.lr=range(-1,3)"], "optimizer.lr must be float > 0; got -1"),
        (["regularizer=[l2],[l2,l9]"], "no regularizer is called 'l9'"),
        (["seed=1,x"], "seed must be int >= 0 and < 4294967296; got 'x'"),
        (["experiment=mnist_cnn,mnist"], "no experiment is called 'mnist'"),
        (["optimizer.amsgrad=yes,perhaps"], "optimizer.amsgrad must be bool; got 'perhaps'"),
    ],
)
def test_every_value_of_a_multirun_is_checked(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(overrides, None, many=True)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adam,sgd", "seed=1,2"],
        ["optimizer=sgd,adam", "optimizer.lr=range(1,3)"],
        ["regularizer=[l2],[l2,dropout],[]"],
        ["activation=glob(*elu)"],
        ["optimizer.amsgrad=yes,no", "data.split_seed=${seed},3"],
        ["optimizer.betas=[0.8,0.9],[0.9,0.99]"],
        ["trainer=cpu,gpu", "experiment=mnist_cnn,regularized_mlp", "data=digits"],
        ["+tracking.tags.a=1,2"],
        ["~optimizer.lr"],
    ],
)
def test_a_multirun_that_fits_passes(overrides: list[str]) -> None:
    prepare(overrides, None, many=True)
