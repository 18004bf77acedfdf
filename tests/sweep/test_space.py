"""Which trials have which parameter, what components declare, and what is refused before any trial."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution, json_to_distribution

from dlframe.errors import ConfigError, DlframeError
from dlframe.plugin import Component
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space import build_space, describe

pytest_plugins = ["sweep_fixtures"]
Declare = Callable[..., None]


def built(
    *overrides: str,
    params: dict[str, Any] | None = None,
    auto: bool = False,
    config_dir: Path | None = None,
) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    return build_space(overrides, params or {}, auto=auto, config_dir=config_dir)


def conditions(*overrides: str, **options: Any) -> dict[str, tuple[tuple[str, str], ...]]:
    return {p.name: p.when for p in built(*overrides, **options)[1]}


# --- conditions -----------------------------------------------------------------------------------


def test_an_option_belongs_to_the_components_that_have_it() -> None:
    assert conditions(
        "architecture=mlp,cnn,rnn,autoencoder",
        "architecture.hidden@mlp=[64],[64,64]",
        "architecture.channels=[8],[16]",
        "architecture.cell=lstm,gru",
        "architecture.pooling@cnn=max,average",
        "architecture.normalization=none,layer",
        "optimizer.lr=0.1,0.2",
        "seed=1,2",
    ) == {
        "architecture": (),
        "architecture.hidden@mlp": (("architecture", "mlp"),),
        "architecture.channels": (("architecture", "cnn|autoencoder"),),
        "architecture.cell": (("architecture", "rnn"),),
        "architecture.pooling@cnn": (("architecture", "cnn"),),
        "architecture.normalization": (),
        "optimizer.lr": (),
        "seed": (),
    }


def test_a_component_may_have_values_of_its_own() -> None:
    _, space = built(
        "optimizer.lr@sgd=tag(log,interval(1e-3,1))",
        "optimizer=adam,sgd,adamw",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
        "optimizer.betas=[0.9,0.99],[0.8,0.9]",
    )
    assert describe(space) == [
        ("optimizer", "adam, sgd, adamw", ""),
        ("optimizer.lr@sgd", "0.001 to 1, log", "optimizer is sgd"),
        ("optimizer.lr", "1e-4 to 0.01, log", "optimizer is adam or adamw"),
        ("optimizer.betas", "[0.9,0.99], [0.8,0.9]", "optimizer is adam or adamw"),
    ]
    assert [p.key for p in space] == [
        "optimizer",
        "optimizer.lr",
        "optimizer.lr",
        "optimizer.betas",
    ]


def test_the_one_component_of_all_trials_needs_no_condition() -> None:
    assert conditions("optimizer=sgd", "optimizer.lr@sgd=0.1,0.2") == {"optimizer.lr@sgd": ()}
    assert conditions("optimizer.lr@dlframe/adam=0.1,0.2".replace("@dlframe/", "@")) == {
        "optimizer.lr@adam": ()
    }
    assert conditions(params={"optimizer.lr@dlframe/adam": "0.1,0.2"}) == {"optimizer.lr@adam": ()}


def test_regularizers_are_those_in_a_trials_list() -> None:
    fixed, space = built(
        "regularizer=[l2],[l2,dropout],[]",
        "regularizer.l2.weight=1e-3,1e-4",
        "regularizer.dropout.p=interval(0,0.6)",
    )
    assert fixed == ()
    assert describe(space) == [
        ("regularizer", "[l2], [l2,dropout], []", ""),
        ("regularizer.l2.weight", "0.001, 0.0001", "regularizer has l2"),
        ("regularizer.dropout.p", "0 to 0.6", "regularizer has dropout"),
    ]
    assert space[1].when == (("regularizer", "l2"),)
    assert conditions("regularizer=l2,[l2,dropout]", "regularizer.l2.weight=1,2") == {
        "regularizer": (),
        "regularizer.l2.weight": (),
    }
    named = conditions("regularizer=[],[dlframe/l2]", "regularizer.l2.weight=1,2")
    assert named["regularizer.l2.weight"] == (("regularizer", "l2"),)


@pytest.mark.parametrize(
    ("given", "fixed"),
    [
        ([], ("regularizer=[l2]",)),
        (["regularizer=[dropout]", "seed=3"], ("seed=3", "regularizer=[dropout,l2]")),
        (["regularizer=dropout"], ("regularizer=[dropout,l2]",)),
        (["debug=one_batch"], ("debug=one_batch", "regularizer=[l2]")),
    ],
)
def test_a_regularizer_whose_option_is_searched_is_added(
    given: list[str], fixed: tuple[str, ...]
) -> None:
    found, space = built(
        *given,
        "optimizer.lr=tag(log,interval(1e-4,1e-1))",
        "regularizer.l2.weight=tag(log,interval(1e-6,1e-2))",
    )
    assert found == fixed
    assert describe(space) == [
        ("optimizer.lr", "1e-4 to 0.1, log", ""),
        ("regularizer.l2.weight", "1e-6 to 0.01, log", "adds regularizer l2"),
    ]


def test_a_regularizer_that_is_chosen_is_not_added() -> None:
    fixed, space = built("experiment=regularized_mlp", "regularizer.l2.weight=1e-3,1e-4")
    assert fixed == ("experiment=regularized_mlp",)
    assert space[0].when == ()


def test_what_a_preset_chooses_depends_on_the_preset() -> None:
    found = conditions(
        "experiment=mnist_cnn,regularized_mlp",
        "architecture.channels=[8],[16]",
        "regularizer.dropout.p=0.1,0.2",
        "trainer.max_epochs=1,2",
    )
    assert found == {
        "experiment": (),
        "architecture.channels": (("experiment", "mnist_cnn"),),
        "regularizer.dropout.p": (("experiment", "regularized_mlp"),),
        "trainer.max_epochs": (),
    }


def test_data_bring_their_loss_along() -> None:
    found = conditions("data=digits,diabetes,iris", "loss.label_smoothing=0.0,0.1")
    assert found == {"data": (), "loss.label_smoothing": (("data", "digits|iris"),)}
    found = conditions(
        "data=digits,diabetes", "architecture=mlp,autoencoder", "loss.label_smoothing=0.0,0.1"
    )
    assert found["loss.label_smoothing"] == (("data", "digits"), ("architecture", "mlp"))
    found = conditions(
        "data=digits,diabetes", "architecture=mlp,autoencoder", "loss=cross_entropy,mse",
        "loss.label_smoothing=0.0,0.1",
    )  # fmt: skip
    assert found["loss.label_smoothing"] == (("loss", "cross_entropy"),)


def test_a_users_own_files_are_choices_too(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "gentle.yaml").write_text("defaults: [sgd, _self_]\nlr: 0.001\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: sgd\n  - _self_\n"
    )
    found = conditions(
        "optimizer=adam,gentle", "optimizer.nesterov=yes,no", config_dir=tmp_path
    )  # fmt: skip
    assert found["optimizer.nesterov"] == (("optimizer", "gentle"),)
    found = conditions(
        "experiment=glob(m*)", "optimizer.nesterov=true,false", config_dir=tmp_path
    )  # fmt: skip
    assert found["optimizer.nesterov"] == (("experiment", "mine"),)


def test_what_two_groups_decide_together_is_refused(tmp_path: Path) -> None:
    for group, name, optimizer in [
        ("experiment", "one", "sgd"), ("experiment", "two", "adam"), ("debug", "three", "sgd"),
    ]:  # fmt: skip
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / f"{name}.yaml").write_text(
            f"# @package _global_\ndefaults:\n  - override /optimizer: {optimizer}\n  - _self_\n"
            if optimizer != "adam"
            else "# @package _global_\n{}\n"
        )
    choices = ["experiment=one,two", "debug=three,one_batch"]
    with pytest.raises(ConfigError, match="experiment and debug together; choose one optimizer"):
        built(*choices, "optimizer.nesterov=true,false", config_dir=tmp_path)
    found = conditions(
        *choices, "optimizer=adam,sgd", "optimizer.nesterov=true,false", config_dir=tmp_path
    )
    assert found["optimizer.nesterov"] == (("optimizer", "sgd"),)


def test_a_plugins_component_takes_part(declare: Declare) -> None:
    declare("optimizer", Component(name="plain", target="torch.optim:SGD", summary="s"))
    found = conditions("optimizer=adam,acme/plain", "optimizer.dampening=0.1,0.2")
    assert found["optimizer.dampening"] == (("optimizer", "acme/plain"),)


def test_parameters_that_others_depend_on_come_first_and_the_rest_as_given() -> None:
    _, space = built(
        "optimizer.eps=1e-8,1e-7", "optimizer.momentum=0.0,0.9", "seed=1,2", "activation=relu,gelu",
        "optimizer=adam,sgd", params={"scheduler": "constant,cosine", "trainer.max_epochs": [1, 2]},
    )  # fmt: skip
    assert [p.name for p in space] == [
        "optimizer", "optimizer.eps", "optimizer.momentum", "seed", "activation", "scheduler",
        "trainer.max_epochs",
    ]  # fmt: skip


def test_a_single_choice_is_set_where_the_option_is() -> None:
    assert conditions("architecture=mlp,cnn", "architecture.hidden=choice([3])") == {
        "architecture": (),
        "architecture.hidden": (("architecture", "mlp"),),
    }


# --- ranges that components declare ---------------------------------------------------------------


def test_ranges_of_the_chosen_components_are_searched() -> None:
    _, space = built(auto=True)
    assert {p.name: json_to_distribution(p.distribution) for p in space} == {
        "loss.label_smoothing": FloatDistribution(0.0, 0.3),
        "optimizer.lr": FloatDistribution(1e-5, 1e-1, log=True),
        "optimizer.weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    }
    assert all(p.when == () and p.name == p.key for p in space)


def test_several_components_have_their_own_ranges() -> None:
    _, space = built("optimizer=adam,sgd", auto=True)
    assert [(p.name, p.key, p.when) for p in space if p.key.startswith("optimizer.")] == [
        ("optimizer.lr@adam", "optimizer.lr", (("optimizer", "adam"),)),
        ("optimizer.weight_decay@adam", "optimizer.weight_decay", (("optimizer", "adam"),)),
        ("optimizer.lr@sgd", "optimizer.lr", (("optimizer", "sgd"),)),
        ("optimizer.momentum@sgd", "optimizer.momentum", (("optimizer", "sgd"),)),
        ("optimizer.weight_decay@sgd", "optimizer.weight_decay", (("optimizer", "sgd"),)),
    ]


def test_what_the_user_sets_or_searches_is_left_to_him() -> None:
    names = [p.name for p in built("optimizer.lr=0.1", auto=True)[1]]
    assert names == ["loss.label_smoothing", "optimizer.weight_decay"]
    _, space = built("optimizer=adam,sgd", "optimizer.lr@sgd=0.1,0.2", auto=True)
    assert [p.name for p in space if "lr" in p.name] == ["optimizer.lr@sgd", "optimizer.lr@adam"]
    _, space = built("optimizer=adam,sgd", "optimizer.lr=0.1,0.2", auto=True)
    assert [p.name for p in space if "lr" in p.name] == ["optimizer.lr"]


def test_ranges_follow_what_choices_bring_along() -> None:
    _, space = built("architecture=gan,mlp", "regularizer=[l2],[l2,dropout]", auto=True)
    found = {p.name: (json_to_distribution(p.distribution), p.when) for p in space}
    assert found["architecture.latent_size@gan"] == (
        IntDistribution(8, 256, log=True),
        (("architecture", "gan"),),
    )
    assert found["loss.pos_weight@binary_cross_entropy"][1] == (("architecture", "gan"),)
    assert found["loss.label_smoothing@cross_entropy"][1] == (("architecture", "mlp"),)
    assert found["regularizer.l2.weight"][1] == ()
    assert found["regularizer.dropout.p"][1] == (("regularizer", "dropout"),)


def test_ranges_of_a_searched_regularizer_are_searched_too() -> None:
    names = [p.name for p in built("regularizer.elastic_net.l1=1e-3,1e-4", auto=True)[1]]
    assert names[0] == "regularizer.elastic_net.l1"
    assert "regularizer.elastic_net.l2" in names


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=interval(1,0)"], "from 1 to 0; the first must be smaller"),
        (["optimizer.lr=interval(1,1)"], "from 1 to 1; the first must be smaller"),
        (["optimizer.lr=interval(0,inf)"], "searched between numbers; got inf"),
        (["optimizer.lr=interval(nan,1)"], "searched between numbers; got nan"),
        (["optimizer.lr=tag(log,interval(0,1))"], "a log scale, which begins above 0; got 0"),
        (["optimizer.lr=tag(lg,interval(1e-3,1))"], "has the tag 'lg'; did you mean 'log'?"),
        (["optimizer=tag(log,choice(adam,sgd))"], "has choices, which have no scale"),
        (["seed=tag(log,range(1,9,2))"], r"write tag\(log,int\(interval\(1,7\)\)\)"),
        (["optimizer.lr=tag(log,range(0.1,1,0.1))"], r"write tag\(log,interval\(0.1,1\)\)"),
        (["seed=range(5,1)"], r"the range\(5,1,1\) of seed is empty"),
        (["optimizer.lr=range(1,0.5)"], r"the range\(1,0.5,1\) of optimizer.lr is empty"),
        (["seed=range(1,5,0)"], "has the step 0"),
        (["optimizer.lr=choice()"], "empty choice is not legal"),
        (["optimizer.lr=intervall(0,1)"], "unknown function 'intervall'; did you mean 'interval'"),
        (["optimizer.lr=interval(1e-4 1e-1)"], r"argument: end; write it as in interval\(1e-4,1e-1\)"),
        (["optimizer.lr=choice(1,null)"], "takes no null; write the values without it"),
        (["optimizer.lr=0.1,0.1"], "has the choices 0.1 and 0.1, which are one value to a study"),
        (["trainer.limit_train=1,1.0"], "has the choices 1 and 1.0, which are one value"),
        (["optimizer.lr=0.1,0.2", "optimizer.lr=0.3,0.4"], "is searched twice"),
        (["optimizer=adam,sgd", "optimizer.lr@sgd=1,2", "optimizer.lr@sgd=1,2"], "is searched twice"),
        (["optimizer.lr=0.1,0.2", "optimizer.lr=0.3"], "is searched and has one value, too"),
        (["optimizer=adam,sgd", "optimizer=adam"], "is searched and has one value, too"),
        (["optimizer.rl=1,2"], "dlframe/adam has no option 'rl'; its options are lr"),
        (["optmizer.lr=1,2"], "there is no option 'optmizer.lr'; did you mean 'optimizer'"),
        (["trainer.max_epoch=1,2"], "has no option 'max_epoch'; did you mean 'max_epochs'"),
        (["architecture=mlp,cnn", "architecture.hiden=[1],[2]"],
         r"none of the architectures that a trial may choose \(mlp, cnn\) has .* mean 'hidden'"),
        (["architecture=mlp,cnn", "architecture.hidden=[1]"],
         r"write 'architecture.hidden=choice\(\[1\]\)', which is for those that have it"),
        (["architecture=mlp,rnn", "architecture.hidden=[1],[2]"],
         "as architecture=rnn has it; give one alone its values with architecture.hidden@"),
        (["optimizer.lr@sgd=0.1,0.2"], "no trial chooses that optimizer; trials choose adam"),
        (["optimizer.lr@sdg=0.1,0.2"], "no optimizer is called 'sdg'; did you mean 'sgd'"),
        (["optimizer.lr@adam=0.1"], "every group has its place"),
        (["trainer.max_epochs@mlp=1,2"], "no option of one component among several"),
        (["regularizer.l2.weight@l2=1,2"], "no option of one component among several"),
        (["optimizer.lr=interval(0,1)"], "optimizer.lr must be float > 0; got 0.0"),
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr must be float > 0; got -1.0"),
        (["optimizer.lr=a,b"], "optimizer.lr must be float > 0; got 'a'"),
        (["regularizer.dropout.p=interval(0,1)"], "must be float >= 0 and < 1; got 1.0"),
        (["trainer.max_epochs=interval(1,5)"], r"write int\(interval\(1,5\)\)"),
        (["seed=interval(0,3)"], r"write int\(interval\(0,3\)\)"),
        (["trainer.precision=32-true,bf16"], "did you mean 'bf16-mixed'"),
        (["optimizer=interval(0,1)"], "is chosen by name and has no range"),
        (["experiment=range(1,3)"], "is chosen by name and has no range"),
        (["optimizer=adam,sgdd"], "no optimizer is called 'sgdd'; did you mean 'sgd'"),
        (["experiment=mnist_cnn,mnist_cn"], "did you mean 'mnist_cnn'"),
        (["architecture={a:1},mlp"], "must be chosen by name"),
        (["architecture=[mlp],cnn"], "a run has one architecture"),
        (["activation=glob(x*)"], r"=glob\(x\*\) finds nothing; activation has the names celu"),
        (["optimizer.lr=glob(*)"], "and optimizer.lr is an option"),
        (["regularizer=[],[dropout]", "regularizer.l2.weight=1,2"], r"as in 'regularizer=\[\],\[l2\]'"),
        (["experiment=mnist_cnn,regularized_mlp", "regularizer.mixup.alpha=0.1,0.2"],
         "no trial chooses it"),
        (["regularizer.l22.weight=1,2"], "no regularizer is called 'l22'"),
        (["seed=1"], "nothing is searched: search what the components declare"),
        ([], "nothing is searched"),
        (["optimizer.lr"], "an override reads key=value"),
        (["nothing/there=a,b"], "there is no group 'nothing/there'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(DlframeError, match=message) as caught:
        built(*overrides)
    assert "\n" not in str(caught.value)


def test_mistakes_in_params_are_told_as_well() -> None:
    with pytest.raises(ConfigError, match=r"optimizer.lr has no choices"):
        built(params={"optimizer.lr": []})
    with pytest.raises(ConfigError, match="no activation is called 'rellu'"):
        built(params={"activation": ["relu", "rellu"]})
    with pytest.raises(ConfigError, match=r"write optimizer.lr@adam=choice"):
        built(params={"optimizer.lr@adam": 0.1})
    with pytest.raises(ConfigError, match="must be float > 0; got 'x'"):
        built(params={"optimizer.lr": ["x"]})


def test_no_range_at_all_is_told() -> None:
    fixed = ["optimizer=lbfgs", "optimizer.lr=1", "loss.label_smoothing=0"]
    with pytest.raises(ConfigError, match="no chosen component declares a range"):
        built(*fixed, auto=True)
