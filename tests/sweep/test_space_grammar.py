"""Hydra's override grammar as dimensions, and values that come back from Hydra as they were."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.samplers import RandomSampler
from optuna.study import create_study

from dlframe.config.compose import compose
from dlframe.config.overrides import parse
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space import build_space, overrides_of
from dlframe.sweep.space_grammar import dimension_of
from dlframe.sweep.space_texts import read, text_of, words_of


def space_of(*overrides: str, **params: Any) -> tuple[Parameter, ...]:
    return build_space(overrides, params, auto=False, config_dir=None)[1]


def one(override: str) -> BaseDistribution:
    (parameter,) = space_of(override)
    return json_to_distribution(parameter.distribution)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=1,2,3", CategoricalDistribution((1, 2, 3))),
        ("seed=choice(1,2)", CategoricalDistribution((1, 2))),
        ("seed=choice(7)", CategoricalDistribution((7,))),
        ("seed=sort(3,1,2)", CategoricalDistribution((1, 2, 3))),
        ("seed=sort(choice(3,1,2),reverse=true)", CategoricalDistribution((3, 2, 1))),
        ("seed=shuffle(1,2,3)", CategoricalDistribution((1, 2, 3))),
        ("seed=int('1','2')", CategoricalDistribution((1, 2))),
        ("seed=range(5)", IntDistribution(0, 4)),
        ("seed=range(1,5)", IntDistribution(1, 4)),
        ("seed=range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("seed=range(1,11,3)", IntDistribution(1, 10, step=3)),
        ("seed=range(4,5)", IntDistribution(4, 4)),
        ("seed=range(9,0,-4)", IntDistribution(1, 9, step=4)),
        ("seed=shuffle(range(1,5))", IntDistribution(1, 4)),
        ("seed=sort(range(5,1,-1))", IntDistribution(2, 5)),
        ("seed=int(range(1.5,5.2))", IntDistribution(1, 4)),
        ("seed=tag(log,range(1,100))", IntDistribution(1, 99, log=True)),
        ("seed=int(interval(1,8))", IntDistribution(1, 8)),
        ("seed=tag(log,int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("seed=int(tag(log,interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("optimizer.lr=interval(1e-3,1)", FloatDistribution(1e-3, 1.0)),
        ("optimizer.lr=float(int(interval(1,2)))", FloatDistribution(1.0, 2.0)),
        ("optimizer.lr=tag(log, interval(1e-3, 1))", FloatDistribution(1e-3, 1.0, log=True)),
        ("optimizer.lr=range(0.1,1,0.1)", FloatDistribution(0.1, 0.9, step=0.1)),
        ("optimizer.lr=range(0.7,2.1,0.7)", FloatDistribution(0.7, 1.4, step=0.7)),
        ("optimizer.lr=range(1,2.5)", FloatDistribution(1.0, 2.0, step=1.0)),
        ("optimizer.lr=range(0.5,0.6,0.5)", FloatDistribution(0.5, 0.5)),
        ("optimizer.lr=float(range(1,4))", FloatDistribution(1.0, 3.0, step=1.0)),
        ("trainer.max_time=null,'00:00:01:00'", CategoricalDistribution((None, "00:00:01:00"))),
        ("trainer.deterministic=true,false,warn", CategoricalDistribution((True, False, "warn"))),
        ("tracking.run_name='a b','c&d',\"e,f\"", CategoricalDistribution(("a b", "c&d", "e,f"))),
        ("tracking.run_name=choice('1',a\\,b)", CategoricalDistribution(("1", "a,b"))),
        ("tracking.run_name=str(1,true)", CategoricalDistribution(("1", "true"))),
        ("optimizer.betas=[0.9,0.99],[0.8,0.9]", CategoricalDistribution(("[0.9,0.99]", "[0.8,0.9]"))),
        ("tracking.tags={a: 1},{b: [x,'2']}", CategoricalDistribution(("{a:1}", "{b:[x,'2']}"))),
        ("architecture=mlp,cnn", CategoricalDistribution(("mlp", "cnn"))),
        ("optimizer=dlframe/adam,sgd", CategoricalDistribution(("dlframe/adam", "sgd"))),
        ("debug=one_batch,overfit", CategoricalDistribution(("one_batch", "overfit"))),
        ("regularizer=[l2],[l2,dropout],[]", CategoricalDistribution(("[l2]", "[l2,dropout]", "[]"))),
        ("trainer=glob(*cpu)", CategoricalDistribution(("cpu", "ddp_cpu"))),
        ("activation=glob([relu*,sel*],exclude=relu6)", CategoricalDistribution(("relu", "selu"))),
        ("experiment=glob(mnist*)", CategoricalDistribution(("mnist_cnn",))),
    ],
)  # fmt: skip
def test_every_form_of_the_grammar(override: str, expected: BaseDistribution) -> None:
    found = one(override)
    assert found == expected
    if isinstance(found, CategoricalDistribution) and isinstance(expected, CategoricalDistribution):
        assert list(map(type, found.choices)) == list(map(type, expected.choices))


@settings(database=None, deadline=None, derandomize=True, max_examples=150)
@given(
    start=st.integers(-50, 50),
    count=st.integers(1, 12),
    step=st.sampled_from([0.1, 0.2, 0.3, 0.7, 1e-3, 2.5, 1 / 3]),
    whole=st.booleans(),
)
def test_the_end_of_a_range_is_never_drawn(
    start: int, count: int, step: float, whole: bool
) -> None:
    if whole:
        step = int(step * 10) + 1
    stop = float(start + count * Decimal(repr(step)))
    text = f"++tracking.tags.x=range({start},{int(stop) if whole else stop!r},{step!r})"
    distribution = dimension_of(parse(text), lambda key: None, None).distribution
    study = create_study(sampler=RandomSampler(seed=0))
    drawn = {study.ask({"x": distribution}).params["x"] for _ in range(30)}
    assert max(drawn) < stop - step / 2
    for value in drawn:
        assert value == pytest.approx(start + round((value - start) / step) * step)


# Hydra reads ${...} in any string as an interpolation, whoever writes it.
strings = st.text(max_size=20).filter(lambda text: "${" not in text)
likenesses = st.sampled_from(
    ["null", "NULL", "true", "False", "1", "-1", "1e3", "1_000", ".5", "nan", "inf", "-inf", "0x1",
     "", " ", "a,b", "[a]", "{a:1}", "a=b", "a:b", "'", '"', "\\", "\\'", "a\\", "'a'", "c&d", "a b",
     "choice(a,b)", "range(1,2)", "@", "~", "+", "$", "$x", "{", "}", "(", ")", "a\nb", "a\tb", "#",
     "%", "é", "😀", "..", "a/b", "x.y", "yes", "on", "007", "1-2", "\\\\", "\\\\'", "'\\\"", "|"]
)  # fmt: skip
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), strings, likenesses
)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ :=,]{0,6}[A-Za-z]", fullmatch=True).filter(
    lambda key: key.lower() not in ("null", "true", "false", "nan", "inf")
)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def composed(overrides: list[str]) -> dict[str, Any]:
    held = OmegaConf.to_container(compose(overrides).tracking.tags, resolve=False)
    assert isinstance(held, dict)
    return {str(key): value for key, value in held.items()}


@settings(database=None, deadline=None, derandomize=True, max_examples=400)
@given(anything)
def test_hydra_reads_the_text_of_a_value_as_that_value(value: Any) -> None:
    assert same(read(text_of(value)), value)


@settings(database=None, deadline=None, derandomize=True, max_examples=5)
@given(st.lists(anything, min_size=25, max_size=40))
def test_a_choice_arrives_in_the_config_as_it_was_given(values: list[Any]) -> None:
    params = {f"+tracking.tags.x{number}": [value] for number, value in enumerate(values)}
    _, space = build_space([], params, auto=False, config_dir=None)
    first = {p.name: json_to_distribution(p.distribution).choices[0] for p in space}  # type: ignore[attr-defined]
    found = composed(overrides_of(first, space))
    for number, value in enumerate(values):
        assert same(found[f"x{number}"], value)


@settings(database=None, deadline=None, derandomize=True, max_examples=8)
@given(st.lists(anything.filter(lambda value: value is not None), min_size=25, max_size=40))
def test_a_choice_on_the_command_line_arrives_as_hydra_itself_would_set_it(
    values: list[Any],
) -> None:
    line = [f"+tracking.tags.x{n}=choice({text_of(value)})" for n, value in enumerate(values)]
    space = space_of(*line)
    first = {p.name: json_to_distribution(p.distribution).choices[0] for p in space}  # type: ignore[attr-defined]
    direct = composed([f"+tracking.tags.x{n}={text_of(value)}" for n, value in enumerate(values)])
    found = composed(overrides_of(first, space))
    assert same(found, direct)
    assert same(list(found.values()), values)


def test_params_are_text_lists_or_single_values() -> None:
    params = {
        "optimizer.lr": "tag(log,interval(1e-4,1e-1))",
        "activation": ["relu", "gelu"],
        "architecture": {"hidden": [[8], [8, 8]]},
        "trainer.max_epochs": 3,
        "trainer.gradient_clip": None,
        "data.batch_size": "32",
    }
    for given_as in (params, OmegaConf.create(params)):
        assert isinstance(given_as, (dict, DictConfig))
        fixed, space = build_space([], given_as, auto=False, config_dir=None)
        assert fixed == (
            "trainer.max_epochs=3", "trainer.gradient_clip=null", "data.batch_size=32"
        )  # fmt: skip
        assert [p.name for p in space] == ["optimizer.lr", "activation", "architecture.hidden"]
        assert space[2].texts == ("[8]", "[8,8]")


def test_the_command_line_wins_over_params() -> None:
    params = {
        "optimizer.lr": "0.1,0.2",
        "optimizer.eps": "1e-8,1e-7",
        "seed": [1, 2],
        "activation": "relu",
    }
    fixed, space = build_space(
        ["optimizer.lr=0.5", "optimizer.eps=1e-6,1e-5", "activation=relu,gelu"],
        params, auto=False, config_dir=None,
    )  # fmt: skip
    assert fixed == ("optimizer.lr=0.5",)
    assert [(p.name, p.texts) for p in space] == [
        ("optimizer.eps", ("1e-06", "1e-05")),
        ("activation", ("relu", "gelu")),
        ("seed", ("1", "2")),
    ]


def test_a_plus_is_no_part_of_a_name() -> None:
    names = [
        (p.name, p.key)
        for p in space_of(
            "+tracking.tags.team=a,b", "++optimizer.lr=0.1,0.2", "++tracking.tags.n=1,2"
        )
    ]
    assert names == [
        ("tracking.tags.team", "++tracking.tags.team"),
        ("optimizer.lr", "optimizer.lr"),
        ("tracking.tags.n", "++tracking.tags.n"),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [(1e-4, "1e-4"), (0.05, "0.05"), (1e-5, "1e-5"), (100, "100"), (1e6, "1e6"), (0.001, "0.001"),
     (3e-4, "3e-4"), (0, "0"), (-2.5e-7, "-2.5e-7"), (1.0, "1"), (0.30000000000000004, "0.3")],
)  # fmt: skip
def test_numbers_are_short(value: float, words: str) -> None:
    assert words_of(value) == words


def test_a_mapping_that_no_override_can_say_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be written as an override"):
        text_of({"it's": 1})
