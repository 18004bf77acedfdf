"""What a study begins with: given configurations, the trials of another."""

from pathlib import Path

import optuna
import pytest
from study_support import LOSS, SPACE, defined, made, trial

from dlframe.config.settings import SweepOptions
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Goal, Stops
from dlframe.sweep.marks import COPIED
from dlframe.sweep.snapshot import snapshot
from dlframe.sweep.tally import done
from dlframe.sweep.warm import gather, warm_up

_POINT = {"optimizer": "adam", "regularizer": "[]", "optimizer.lr": 0.01, "data.batch_size": 64}


def test_given_configurations_come_first(tmp_path: Path) -> None:
    study = made(tmp_path, stops=Stops(n_trials=5))
    options = SweepOptions(enqueue=[_POINT, {"optimizer.lr": 0.02}])
    definition = snapshot(study).definition
    warm_up(study, gather(definition, options, None), options)
    first, second = study.ask(), study.ask()
    assert first.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True) == 0.01
    assert second.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True) == 0.02
    # What is not given is left to the sampler.
    assert second.suggest_categorical("optimizer", ("adam", "sgd")) in ("adam", "sgd")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optimizer.lr": 5.0}, "searched from 1e-4 to 0.1"),
        ({"optimizer.lrr": 0.1}, "did you mean 'optimizer.lr'"),
        ({"optimizer": "lion"}, "searched among adam, sgd"),
    ],
)
def test_a_configuration_outside_of_the_space(
    values: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        gather(defined(root=str(tmp_path)), SweepOptions(enqueue=[values]), None)


def test_another_studys_trials_teach_the_sampler_and_count_for_nothing(tmp_path: Path) -> None:
    worse, better = {**_POINT, "data.batch_size": 32}, {**_POINT, "data.batch_size": 128}
    made(
        tmp_path, [trial(values=0.9, params=worse), trial(values=0.2, params=better)], name="before"
    )
    study = made(tmp_path, name="after", stops=Stops(n_trials=3))
    definition, options = snapshot(study).definition, SweepOptions(from_study="before")
    warm_up(study, gather(definition, options, None), options)
    copies = [t for t in study.trials if COPIED in t.user_attrs]
    assert [(t.params, t.value) for t in copies] == [(worse, 0.9), (better, 0.2)]
    assert done(study.trials, definition) == 0
    assert snapshot(study).best == []
    # The best of them is tried here first.
    assert study.ask().suggest_int("data.batch_size", 16, 256) == 128
    sampler = optuna.samplers.TPESampler(seed=0)
    assert sampler.infer_relative_search_space(study, study.trials[-1])


def test_only_points_of_the_space_are_taken_over(tmp_path: Path) -> None:
    wide = {**_POINT, "data.batch_size": 200}
    made(tmp_path, [trial(values=0.9, params=wide)], name="before")
    space = tuple(p for p in SPACE if p.key != "data.batch_size")
    study = made(tmp_path, name="after", space=space)
    options = SweepOptions(from_study="before")
    warm_up(study, gather(snapshot(study).definition, options, None), options)
    assert study.trials == []


def test_a_study_with_another_goal_is_refused(tmp_path: Path) -> None:
    made(tmp_path, name="before", goals=(Goal("val/accuracy", "maximize"),))
    with pytest.raises(
        ConfigError, match="'before' is to maximize val/accuracy, this one to minim"
    ):
        gather(defined(root=str(tmp_path), goals=(LOSS,)), SweepOptions(from_study="before"), None)
