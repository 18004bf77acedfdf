"""Configs of trials: the same as Hydra's own, whichever way they come about."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dlframe.config.compose import compose
from dlframe.config.validate import validate
from dlframe.errors import ConfigError
from dlframe.sweep.frozen import Composer

_TRIALS: Sequence[Sequence[str]] = (
    (),
    ("optimizer.lr=0.01",),
    ("optimizer.lr=0.02", "architecture=cnn", "activation=gelu"),
    ("architecture=cnn", "optimizer.lr=0.03", "activation=gelu"),
    ("regularizer=[l2,dropout]", "regularizer.l2.weight=1e-3", "regularizer.dropout.p=0.2"),
    ("regularizer=[l2,dropout]", "regularizer.l2.weight=1e-2", "seed=4"),
    ("experiment=regularized_mlp", "optimizer.lr=0.05"),
    ("experiment=regularized_mlp", "optimizer.lr=0.06", "trainer.max_epochs=2"),
    ("architecture.hidden=[8,8]", "trainer.max_epochs=3"),
    ("optimizer.lr=1", "trainer.gradient_clip=null", "tracking.run_name='a b, c'"),
    ("+tracking.tags.kind=x", "optimizer.lr=0.07"),
    ("optimizer.lr=${data.validation}", "data.validation=0.2"),
)


def test_a_config_is_that_which_hydra_composes() -> None:
    composer = Composer()
    for _ in range(2):  # the second time from what is kept
        for overrides in _TRIALS:
            assert composer(overrides) == validate(compose(overrides)), overrides


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer.lrr=0.1"], "did you mean 'lr'"),
        (["optimizer.lr=-1"], "optimizer.lr must be"),
        (["architecture=mpl"], "no architecture is called 'mpl'"),
        (["optimizer.lr"], "key=value"),
    ],
)
def test_what_does_not_fit_is_told_as_ever(overrides: list[str], said: str) -> None:
    composer = Composer()
    composer(())
    with pytest.raises(ConfigError, match=said):
        composer(overrides)


def test_a_config_is_not_changed_by_those_that_follow(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.5\n")
    composer = Composer(tmp_path)
    first = composer(["experiment=mine", "trainer.max_epochs=2"])
    second = composer(["experiment=mine", "trainer.max_epochs=3"])
    assert (first["optimizer"]["lr"], first["trainer"]["max_epochs"]) == (0.5, 2)
    # An edit does not reach the trials that are still to come.
    (folder / "mine.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.9\n")
    assert composer(["experiment=mine", "trainer.max_epochs=4"])["optimizer"]["lr"] == 0.5
    assert second["optimizer"]["lr"] == 0.5
