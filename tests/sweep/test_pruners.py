"""Pruners by name: Optuna's own, with checked options."""

from collections.abc import Callable
from typing import Any

import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from search_support import EPOCHS, ends, optunas

from dlframe.errors import ConfigError, DlframeError
from dlframe.sweep.definition import Chosen
from dlframe.sweep.pruners import make_pruner


@pytest.mark.parametrize(
    ("name", "options", "make"),
    [
        ("none", {}, NopPruner),
        ("median", {}, MedianPruner),
        ("median", {"n_startup_trials": 2, "n_warmup_steps": 5, "interval_steps": 3, "n_min_trials": 4},
         lambda: MedianPruner(2, 5, 3, n_min_trials=4)),
        ("percentile", {}, lambda: PercentilePruner(25.0)),
        ("percentile", {"percentile": 60, "n_startup_trials": 1}, lambda: PercentilePruner(60.0, 1)),
        ("asha", {}, lambda: SuccessiveHalvingPruner(1)),
        ("asha", {"min_resource": 2, "reduction_factor": 3, "min_early_stopping_rate": 1,
                  "bootstrap_count": 2},
         lambda: SuccessiveHalvingPruner(2, 3, 1, 2)),
        ("hyperband", {}, lambda: HyperbandPruner(1, EPOCHS)),
        ("hyperband", {"min_resource": 2, "reduction_factor": 4},
         lambda: HyperbandPruner(2, EPOCHS, 4)),
        ("threshold", {"upper": 1.2}, lambda: ThresholdPruner(upper=1.2)),
        ("threshold", {"lower": 0.1, "upper": 1.5, "n_warmup_steps": 3, "interval_steps": 2},
         lambda: ThresholdPruner(0.1, 1.5, 3, 2)),
        ("patient", {}, lambda: PatientPruner(MedianPruner(), 3)),
        ("patient", {"inner": "none", "patience": 2, "min_delta": 0.01},
         lambda: PatientPruner(None, 2, 0.01)),
        ("patient", {"inner": "asha", "patience": 1},
         lambda: PatientPruner(SuccessiveHalvingPruner(1), 1)),
        ("wilcoxon", {}, WilcoxonPruner),
        ("wilcoxon", {"p_threshold": 0.01, "n_startup_steps": 6},
         lambda: WilcoxonPruner(p_threshold=0.01, n_startup_steps=6)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_pruner_is_optunas_with_its_options(
    name: str, options: dict[str, Any], make: Callable[[], BasePruner]
) -> None:
    expected = ends(optunas(make))
    assert ends(make_pruner(Chosen(name, options), max_resource=EPOCHS)) == expected
    assert (min(expected) < EPOCHS) == (name != "none")


def test_no_pruner_is_one_that_never_prunes() -> None:
    assert set(ends(make_pruner(None, max_resource=EPOCHS))) == {EPOCHS}


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_epochs_that_are_not_known_are_learned_from_the_first_trial(name: str) -> None:
    make = {"asha": SuccessiveHalvingPruner, "hyperband": HyperbandPruner}[name]
    assert ends(make_pruner(Chosen(name), max_resource=1)) == ends(make())


def test_a_long_training_has_its_first_rung_later() -> None:
    made = make_pruner(Chosen("asha"), max_resource=1000)
    assert ends(made) == ends(SuccessiveHalvingPruner(10))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("threshold", {}, "the pruner threshold needs a bound"),
        ("threshold", {"lower": 2, "upper": 1}, "lower must be at most upper; got 2.0 and 1.0"),
        ("hyperband", {"min_resource": 31}, "must be at most the epochs of a trial, 30; got 31"),
        ("patient", {"inner": "patient"}, "must be another pruner than patient"),
        ("patient", {"inner": "medain"}, "no pruner is called 'medain'; did you mean 'median'"),
        ("asha", {"reduction_factor": 1}, "reduction_factor must be int >= 2"),
        ("percentile", {"percentile": 101}, "percentile must be float >= 0 and <= 100"),
        ("medain", {}, "no pruner is called 'medain'; did you mean 'median'"),
    ],
)  # fmt: skip
def test_a_wrong_choice_of_pruner_is_one_sentence(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DlframeError, match=message) as caught:
        make_pruner(Chosen(name, options), max_resource=EPOCHS)
    assert "\n" not in str(caught.value)


def test_what_optuna_refuses_is_one_sentence() -> None:
    with pytest.raises(
        ConfigError, match="pruner 'dlframe/hyperband' refuses its options: bootstrap"
    ):
        make_pruner(Chosen("hyperband", {"bootstrap_count": 2}), max_resource=0)
