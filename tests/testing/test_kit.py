"""The kit finds what is wrong with a component, and says so."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from _pytest.outcomes import Failed, Skipped, XFailed

from dlframe import testing
from dlframe.errors import ConfigError
from dlframe.plugin import KINDS, Component, hookimpl, registry

BAD: Mapping[str, tuple[str, str, str]] = {
    "Flattens": ("activation", "shape_and_dtype", "the shape [5, 4] becomes [20]"),
    "Normalizes": ("activation", "elementwise", ""),
    "WrongGradient": ("activation", "gradient", "Jacobian mismatch"),
    "Root": ("activation", "finite", "the gradient is not finite at [0.0"),
    "Reseeds": ("activation", "constructs", "sets the seed"),
    "Hidden": ("activation", "copies", "another instance with the same state_dict"),
    "Reads": ("activation", "finite", "ZeroDivisionError: no reason"),
    "Summed": ("loss", "batch_order", "take the mean over the examples"),
    "PerExample": ("loss", "scalar", "the shape is [12], not []"),
    "Backwards": ("loss", "lower_at_the_answer", "the mean error falls from"),
    "Exponential": ("loss", "finite_at_extremes", "outputs of size -50 give inf"),
    "Ascends": ("optimizer", "descends_a_quadratic", "200 steps leave"),
    "Forgets": ("optimizer", "resumes_exactly", "differs from the uninterrupted"),
    "AlwaysOn": ("regularizer", "off_is_the_identity", "gives other parameters"),
    "Relabels": ("regularizer", "hooks_keep_their_promises", "leaves clean=True"),
    "Dead": ("architecture", "trains_every_parameter", "unused.weight gets no gradient"),
    "Constant": ("architecture", "overfits_one_batch", "150 steps on one batch"),
    "negative": ("scheduler", "finite_rates", "the learning rates [-0.1"),
    "HalfFilled": ("initializer", "fills_in_place", "values of a weight [6, 4] are not finite"),
    "Unequal": ("data", "examples_are_consistent", "50 inputs have 40 targets"),
    "NoMetric": ("task", "metrics_compute", "monitor is 'val/missing'"),
}
"""Target, kind, the check that must fail, and a part of its message."""

ALSO = {
    ("Hidden", "options_are_typed"): "'scale' is not described",
    ("Unequal", "loading_is_deterministic"): "loading twice gives other inputs",
    ("NoMetric", "steps"): "predictions are not detached",
}
"""Further checks that the same components fail, with a part of the message."""


def _word(target: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in target).strip("_")


class Plugin:
    """All bad components, as a plugin."""


def _hook(kind: str) -> Any:
    inputs = {"architecture": ("features",)}.get(kind, ())
    tasks = {"architecture": ("regression",), "loss": ("regression",), "task": ("regression",)}

    def hook(self: Plugin) -> Iterable[Component]:
        for target, (own, _, _) in BAD.items():
            if own == kind:
                yield Component(
                    name=_word(target),
                    target=f"bad_components:{target}",
                    summary="bad",
                    inputs=inputs,
                    tasks=tasks.get(kind, ()),
                    defaults={"loss": "mse"} if kind == "task" else {},
                )

    hook.__name__ = KINDS[kind].hook
    return hookimpl(hook)


for _kind in KINDS:
    setattr(Plugin, KINDS[_kind].hook, _hook(_kind))


@pytest.fixture(autouse=True)
def _bad_plugin() -> Iterator[None]:
    registry.cache_clear()
    registry().add(Plugin(), "bad")
    yield
    registry.cache_clear()


def _outcome(target: str, check: str, **settings: Any) -> testing.Outcome:
    kind = BAD[target][0]
    case = testing.Case(registry().find(kind, f"bad/{_word(target)}"), **settings)
    (function,) = (c for c in testing.checks_of(kind) if c.__name__ == check)
    return testing.run(case, function)


@pytest.mark.parametrize("target", BAD)
def test_a_broken_promise_is_found(target: str) -> None:
    _, check, message = BAD[target]
    off = {"weight": 0.0} if target == "AlwaysOn" else None
    outcome = _outcome(target, check, off=off)
    assert outcome.status == "failed"
    assert message in outcome.reason
    assert not outcome.good


@pytest.mark.parametrize(("target", "check"), ALSO)
def test_further_promises_are_checked(target: str, check: str) -> None:
    outcome = _outcome(target, check)
    assert outcome.status == "failed"
    assert ALSO[target, check] in outcome.reason


def test_an_announced_failure_is_expected() -> None:
    settings = {"expected_failures": {"elementwise": "subtracts the first value"}}
    outcome = _outcome("Normalizes", "elementwise", **settings)
    assert (outcome.status, outcome.reason) == ("expected", "subtracts the first value")
    assert outcome.good


def test_an_announced_failure_that_passes_is_an_error() -> None:
    outcome = _outcome("Normalizes", "finite", expected_failures={"finite": "overflows"})
    assert outcome.status == "unexpected"
    assert "remove the expectation" in outcome.reason
    assert not outcome.good


def test_checks_leave_the_random_numbers_alone() -> None:
    import torch

    before = torch.get_rng_state()
    _outcome("Reseeds", "constructs")
    assert torch.equal(before, torch.get_rng_state())


def test_without_off_the_identity_is_skipped() -> None:
    outcome = _outcome("AlwaysOn", "off_is_the_identity")
    assert outcome.status == "skipped"
    assert "set `off`" in outcome.reason


def test_the_classes_turn_outcomes_into_pytests() -> None:
    class TestNormalizes(testing.ActivationTests):
        component = "bad/normalizes"
        expected_failures = {  # noqa: RUF012
            "test_elementwise": "subtracts the first value",
            "test_documented": "is documented",
        }

    suite: Any = TestNormalizes()
    suite.test_gradient()
    with pytest.raises(XFailed, match="subtracts the first value"):
        suite.test_elementwise()
    with pytest.raises(Failed, match="remove the expectation"):
        suite.test_documented()
    with pytest.raises(Skipped, match="the plugin is not installed"):
        suite.test_listing_is_light()

    class TestFlattens(testing.ActivationTests):
        component = "bad/flattens"

    failing: Any = TestFlattens()
    with pytest.raises(testing.CheckFailure, match="becomes"):
        failing.test_shape_and_dtype()


def test_an_expectation_must_name_a_test() -> None:
    with pytest.raises(ConfigError, match="'test_elementwis'"):
        type(
            "TestX",
            (testing.ActivationTests,),
            {"component": "relu", "expected_failures": {"test_elementwis": "typo"}},
        )


def test_options_must_exist() -> None:
    outcome = _outcome("AlwaysOn", "constructs", options={"wieght": 1.0})
    assert outcome.status == "failed"
    assert "has no option 'wieght'" in outcome.reason
