"""Which targets and weights the losses take, and what their links make of the outputs."""

import math
from typing import Any

import pytest
import torch
from loss_support import CLASSES, build, logits, spec
from torch import Tensor
from torch.nn import functional as F

from dlframe.errors import ConfigError
from dlframe.interfaces.spec import Spec

MULTICLASS = ["cross_entropy", "kl", "binary_cross_entropy", "focal", "hinge"]

# Both kinds of class targets.


@pytest.mark.parametrize("name", MULTICLASS)
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("balanced", [False, True])
def test_certain_probabilities_are_class_indices(name: str, size: int, balanced: bool) -> None:
    option = {"cross_entropy": "class_weights", "binary_cross_entropy": "pos_weight"}
    option |= {"focal": "alpha"}
    options = {option[name]: "balanced"} if balanced and name in option else {}
    about = spec("classification", size, (5, 3, 2)[:size])
    loss = build(name, about, **options)
    z, classes = logits(8, loss.output_size(about)), CLASSES % size
    hard, soft = loss(z, classes), loss(z, F.one_hot(classes, size).float())
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("name", MULTICLASS)
@pytest.mark.parametrize("size", [2, 3])
def test_mixed_targets_cost_the_mixture_of_both(name: str, size: int) -> None:
    about = spec("classification", size)
    loss = build(name, about)
    z, one, two = logits(8, loss.output_size(about)), CLASSES % size, (CLASSES + 1) % size
    t = 0.3 * F.one_hot(one, size).double() + 0.7 * F.one_hot(two, size).double()
    expected = 0.3 * loss(z, one) + 0.7 * loss(z, two)
    if name == "kl":  # which takes the entropy of the targets off
        expected = expected + 0.3 * math.log(0.3) + 0.7 * math.log(0.7)
    torch.testing.assert_close(loss(z, t), expected)


@pytest.mark.parametrize("name", MULTICLASS)
@pytest.mark.parametrize("size", [2, 3, 5])
def test_links_give_probabilities_in_the_order_of_the_outputs(name: str, size: int) -> None:
    about = spec("classification", size)
    loss = build(name, about)
    z = 3 * logits(16, loss.output_size(about))
    p = loss.link(z)
    assert p.shape == (16, size)
    torch.testing.assert_close(p.sum(1), torch.ones(16, dtype=torch.float64))
    winner = z.argmax(1) if z.shape[1] > 1 else (z[:, 0] > 0).long()
    assert torch.equal(p.argmax(1), winner)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("binary_cross_entropy", "multilabel"),
        ("binary_cross_entropy", "reconstruction"),
        ("binary_cross_entropy", "generation"),
        ("focal", "multilabel"),
        ("hinge", "multilabel"),
        ("hinge", "generation"),
    ],
)
def test_links_of_labels_are_sigmoids(name: str, task: str) -> None:
    z = logits(4, 3)
    torch.testing.assert_close(build(name, spec(task)).link(z), z.sigmoid())


@pytest.mark.parametrize(
    ("name", "about", "size"),
    [
        ("cross_entropy", spec("classification", 2), 2),
        ("kl", spec("classification", 2), 2),
        ("focal", spec("classification", 2), 2),
        ("binary_cross_entropy", spec("classification", 2), 1),
        ("hinge", spec("classification", 2), 1),
        ("binary_cross_entropy", spec("classification", 3), 3),
        ("hinge", spec("classification", 3), 3),
        ("binary_cross_entropy", spec("multilabel", 2), 2),
        ("hinge", spec("multilabel", 2), 2),
        ("mse", spec("regression", 2), 2),
        ("quantile", spec("regression", 2), 6),
        ("poisson_nll", spec("regression", 2), 2),
    ],
)
def test_output_sizes(name: str, about: Spec, size: int) -> None:
    assert build(name, about).output_size(about) == size


# What does not fit.


@pytest.mark.parametrize(
    ("name", "about", "outputs", "targets"),
    [
        ("mse", spec("regression"), torch.zeros(4, 1), torch.zeros(4)),
        ("mae", spec("regression"), torch.zeros(4), torch.zeros(4, 1)),
        ("huber", spec("regression"), torch.zeros(4, 2), torch.zeros(4, 1)),
        ("log_cosh", spec("regression"), torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)),
        ("mse", spec("regression"), torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.int64)),
        ("poisson_nll", spec("regression"), torch.zeros(4, 1), torch.zeros(4)),
        ("quantile", spec("regression"), torch.zeros(4, 6), torch.zeros(4, 3)),
        ("quantile", spec("regression"), torch.zeros(4, 4), torch.zeros(4, 1)),
        ("quantile", spec("regression"), torch.zeros(4, 3), torch.zeros(4)),
        ("cross_entropy", spec("classification"), torch.zeros(4, 3), torch.zeros(4)),
        ("cross_entropy", spec("classification"), torch.zeros(4, 3), torch.zeros(4, 2)),
        ("cross_entropy", spec("classification"), torch.zeros(4, 3), torch.zeros(3).long()),
        ("cross_entropy", spec("classification"), torch.zeros(4, 1), torch.zeros(4).long()),
        ("kl", spec("classification"), torch.zeros(4, 3), torch.zeros(4, 1).long()),
        ("focal", spec("classification"), torch.zeros(4, 3), torch.zeros(4)),
        ("focal", spec("multilabel"), torch.zeros(4, 3), torch.zeros(4, 2)),
        ("hinge", spec("classification"), torch.zeros(4, 3), torch.zeros(4, 2)),
        ("hinge", spec("classification", 2), torch.zeros(4, 1), torch.zeros(4, 3)),
        ("binary_cross_entropy", spec("generation"), torch.zeros(4, 1), torch.zeros(4)),
        ("binary_cross_entropy", spec("classification"), torch.zeros(4, 3), torch.zeros(4, 2)),
        ("binary_cross_entropy", spec("multilabel"), torch.zeros(4, 3), torch.zeros(4, 3).long()),
    ],
)
def test_targets_that_do_not_fit_are_refused(
    name: str, about: Spec, outputs: Tensor, targets: Tensor
) -> None:
    with pytest.raises(ConfigError, match=f"loss={name} takes .*; got .*dlframe ls loss"):
        build(name, about)(outputs, targets)


@pytest.mark.parametrize(
    ("name", "about", "options", "message"),
    [
        (
            "cross_entropy",
            spec("classification", 3),
            {"class_weights": [1.0, 2.0]},
            r"class_weights needs one weight for each of the 3 outputs; got 2",
        ),
        (
            "cross_entropy",
            spec("classification", 2),
            {"class_weights": [1.0, -2.0]},
            r"finite weights of at least 0; got \[1.0, -2.0\]",
        ),
        (
            "cross_entropy",
            spec("classification", 2),
            {"class_weights": [1.0, math.inf]},
            r"finite weights of at least 0",
        ),
        (
            "cross_entropy",
            spec("classification", 3, (4, 0, 2)),
            {"class_weights": "balanced"},
            r"class 'c1' has none",
        ),
        (
            "focal",
            spec("classification", 3),
            {"alpha": "balanced"},
            r"number of training examples of each of the 3 classes; the data gives 0",
        ),
        ("focal", spec("classification", 3), {"alpha": 0.25}, r"needs two classes or labels"),
        ("focal", spec("multilabel", 3), {"alpha": "balanced"}, r"got task=multilabel"),
        ("focal", spec("multilabel", 3), {"alpha": [0.5, 0.5]}, r"each of the 3 labels"),
        ("focal", spec("multilabel", 2), {"alpha": [0.5, 1.5]}, r"between 0 and 1"),
        (
            "binary_cross_entropy",
            spec("multilabel", 3, (4, 5, 2)),
            {"pos_weight": "balanced"},
            r"needs classes that exclude each other",
        ),
        (
            "binary_cross_entropy",
            spec("reconstruction", 3),
            {"pos_weight": [1.0, 2.0, 3.0]},
            r"a list for loss.pos_weight needs classes or labels",
        ),
        (
            "binary_cross_entropy",
            spec("multilabel", 3),
            {"pos_weight": [1.0]},
            r"one weight for each of the 3 outputs; got 1",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    name: str, about: Spec, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, about, **options)
