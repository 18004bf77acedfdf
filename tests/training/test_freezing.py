"""Frozen parts stay as they are, and are trained from the epoch on that was asked for."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dlframe
from dlframe.config.validate import validate
from dlframe.errors import ConfigError
from dlframe.interfaces import Regularizer
from dlframe.training.fit import Fit
from dlframe.training.prepare import prepare
from dlframe.training.summary import count_parameters

CNN = ("architecture=cnn", "architecture.channels=[4,8]", "architecture.normalization=batch")
FAST = ("data.limit=200", "trainer.checkpoint=false", "tracking.enabled=false")
Train = Callable[..., tuple[dict[str, Tensor], Fit]]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train without a record; return the weights before, and what is there after it."""

    def run(*overrides: str, regularizers: tuple[Regularizer, ...] = ()) -> Any:
        parts = prepare(validate(dlframe.compose("trainer.max_epochs=2", *FAST, *overrides)))
        parts.regularizers.extend(regularizers)
        before = {k: v.clone() for k, v in parts.network.state_dict().items()}
        fit = Fit(parts, tmp_path, log=lambda values, step: None)
        fit.fit()
        return before, fit

    return run


def moved(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    now = network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adamw", "optimizer.weight_decay=0.1"],
        ["optimizer=muon"],
        ["optimizer=lbfgs"],
        ["optimizer=sgd", "optimizer.momentum=0.9", "trainer.accumulate=2"],
        [
            "regularizer=[max_norm,l1,l2,weight_averaging,dropout]",
            "regularizer.max_norm.max_norm=0.1",
        ],
        ["regularizer=[spectral_norm,mixup,adversarial_training,gradient_clipping]"],
    ],
    ids=lambda words: words[0],
)
def test_a_frozen_part_stays_to_the_last_bit_with_its_statistics(
    train: Train, overrides: list[str]
) -> None:
    before, fit = train(*CNN, "trainer.freeze=[features]", *overrides)
    names = moved(before, fit.module.network)
    assert not [name for name in names if name.startswith("features")]
    learned = {n for n in before if n.startswith("classifier") and before[n].is_floating_point()}
    assert names == learned - {n for n in learned if n.endswith(("_u", "_v"))} or names == learned


def test_it_is_what_torch_does_by_hand(train: Train) -> None:
    options = [*CNN, "optimizer=sgd", "optimizer.lr=0.1", "data.batch_size=all"]
    options += ["trainer.max_epochs=3"]
    parts = prepare(validate(dlframe.compose(*FAST, *options)))
    network, part = parts.network, parts.splits.train
    head = network.get_submodule("classifier")
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    network.get_submodule("features").eval()
    with torch.no_grad():
        features = network.get_submodule("features")(part.x)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), part.y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _, fit = train(*options, "trainer.freeze=[features]")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(fit.module.network.state_dict()[name], value)


class _Epochs(Regularizer):
    """Notes the weights after each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def after_step(self, model: nn.Module) -> None:
        self.seen.append({k: v.clone() for k, v in model.state_dict().items()})


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        (["trainer.freeze=[features]", "trainer.unfreeze=[features:2]"], (2, 2, 0)),
        (["trainer.freeze=['features.*']", "trainer.unfreeze=[features:1]"], (1, 1, 0)),
        (["trainer.freeze=[features]", "trainer.unfreeze=[features.4:1,features.5:2]"], (9, 1, 0)),
        (
            ["trainer.freeze=['features.[04]','classifier.2']", "trainer.unfreeze_every=1"],
            (3, 2, 1),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_are_trained_from_their_epoch_on(
    train: Train, options: list[str], begins: tuple[int, ...]
) -> None:
    notes = _Epochs()
    first, fit = train(*CNN, "data.batch_size=all", "trainer.max_epochs=4", *options,
                       regularizers=(notes,))  # fmt: skip
    assert len(notes.seen) == 4  # a step per epoch
    names = ("features.0.weight", "features.4.weight", "classifier.2.weight")
    for name, epoch in zip(names, begins, strict=True):
        states = [first[name], *(seen[name] for seen in notes.seen)]
        changed = [not torch.equal(*pair) for pair in pairwise(states)]
        assert changed == [number >= epoch for number in range(4)], name
    assert fit.module.network.get_submodule("classifier").training


def test_statistics_move_again_with_their_part(train: Train) -> None:
    before, fit = train(*CNN, "trainer.freeze=[features]", "trainer.unfreeze=[features.5:1]")
    names = {name for name in moved(before, fit.module.network) if name.startswith("features")}
    own = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert names == {f"features.5.{name}" for name in own}


def test_one_of_two_players_may_be_frozen_in_part(train: Train) -> None:
    before, fit = train("architecture=gan", "trainer.freeze=[discriminator.0]")
    names = {name.partition(".")[0] + "." + name.split(".")[1] for name in
             moved(before, fit.module.network)}  # fmt: skip
    assert names == {"generator.layers", "discriminator.1"}


def test_the_record_counts_what_is_trained_at_first(tmp_path: Path) -> None:
    parts = prepare(validate(dlframe.compose(*FAST, *CNN, "trainer.freeze=[features]")))
    Fit(parts, tmp_path, log=lambda values, step: None)
    head = sum(p.numel() for p in parts.network.get_submodule("classifier").parameters())
    assert count_parameters(parts.network)[1] == head


def _fit(folder: Path, *overrides: str) -> Fit:
    parts = prepare(validate(dlframe.compose(*FAST, *overrides)))
    return Fit(parts, folder, log=lambda values, step: None)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.freeze=[feature]"], "trainer.freeze names 'feature', and the network has no such "
         "part with weights; did you mean 'features'.*its parts are features, classifier, and what"),
        (["trainer.freeze=[features.2]"], "has no such part with weights"),  # an activation
        (["trainer.freeze=['*']"], "leaves nothing to train in the first epoch; leave one of"),
        (["trainer.freeze=['*']", "trainer.unfreeze_every=1"], "leaves nothing to train in the first"),
        (["architecture=gan", "trainer.freeze=[generator]"], "nothing to train in the generator in"),
        (["trainer.unfreeze_every=2"], "trainer.unfreeze_every says when frozen parts are trained, and "
         "none are frozen; name them with trainer.freeze"),
        (["trainer.freeze=[features]", "trainer.unfreeze=[classifier:1]"],
         "trainer.unfreeze names 'classifier', which is not frozen; the frozen parts are features"),
        (["trainer.freeze=[features]", "trainer.unfreeze=[features:1]", "trainer.unfreeze_every=1"],
         "both say when frozen parts are trained; set one of them"),
        (["trainer.freeze=[features]", "trainer.unfreeze=[features:0]"],
         "takes part:epochs with one epoch or more, as in .features:3.; got 'features:0'"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(tmp_path: Path, overrides: list[str], said: str) -> None:
    base = [] if "architecture=gan" in overrides else CNN
    with pytest.raises(ConfigError, match=said) as found:
        _fit(tmp_path, *base, *overrides)
    assert "\n" not in str(found.value)
