"""Losses against torch, scikit-learn and closed forms."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import poisson
from sklearn.metrics import hinge_loss, log_loss, mean_pinball_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from dlframe.components.losses.binary_cross_entropy import BinaryCrossEntropy
from dlframe.components.losses.cross_entropy import CrossEntropy, KLDivergence
from dlframe.components.losses.focal import Focal
from dlframe.components.losses.hinge import Hinge
from dlframe.components.losses.poisson import PoissonNLL
from dlframe.components.losses.quantile import Quantile
from dlframe.components.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
)
from dlframe.errors import ConfigError
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.spec import Spec

CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])
LABELS = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]] * 2, dtype=torch.float64)
PAIR = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])


def spec(task: str, size: int = 3, counts: tuple[int, ...] = ()) -> Spec:
    return Spec(
        input="features", input_shape=(4,), output_size=size, task=task, class_counts=counts
    )


def logits(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# Classification by the softmax.


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_torchs(smoothing: float, weights: list[float] | None, soft: bool) -> None:
    z, t = logits(8, 3), logits(8, 3).exp().softmax(1) if soft else CLASSES
    loss = CrossEntropy(spec("classification"), label_smoothing=smoothing, class_weights=weights)
    weight = torch.tensor(weights).double() if weights else None
    expected = F.cross_entropy(z, t, weight, reduction="none", label_smoothing=smoothing).mean()
    torch.testing.assert_close(loss(z, t), expected)


def test_cross_entropy_without_weights_is_scikit_learns_log_loss() -> None:
    z = logits(8, 3)
    expected = log_loss(CLASSES.numpy(), z.softmax(1).numpy(), labels=[0, 1, 2])
    assert float(CrossEntropy(spec("classification"))(z, CLASSES)) == pytest.approx(expected)


def test_balanced_class_weights_are_scikit_learns() -> None:
    y = np.repeat([0, 1, 2], [5, 3, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    about = spec("classification", 3, (5, 3, 2))
    z = logits(8, 3)
    torch.testing.assert_close(
        CrossEntropy(about, class_weights="balanced")(z, CLASSES),
        CrossEntropy(about, class_weights=expected.tolist())(z, CLASSES),
    )
    torch.testing.assert_close(
        Focal(about, alpha="balanced")(z, CLASSES),
        Focal(about, alpha=expected.tolist())(z, CLASSES),
    )
    loss = CrossEntropy(about, class_weights="balanced")
    uniform = torch.zeros(len(y), 3, dtype=torch.float64)
    # At equal odds every example costs log 3, and balanced weights have mean 1 over the data.
    assert float(loss(uniform, torch.from_numpy(y))) == pytest.approx(math.log(3))


def test_class_weights_keep_their_effect_in_a_batch_of_one() -> None:
    z, t = logits(1, 3), torch.tensor([2])
    plain = CrossEntropy(spec("classification"))(z, t)
    weighted = CrossEntropy(spec("classification"), class_weights=[1.0, 1.0, 5.0])(z, t)
    torch.testing.assert_close(weighted, 5 * plain)


def test_kl_is_the_divergence_of_torchs_distributions() -> None:
    z, t = logits(8, 3), logits(8, 3).exp().softmax(1)
    target = Categorical(probs=t)
    given = Categorical(logits=z)
    expected = kl_divergence(target, given).mean()
    loss = KLDivergence()
    torch.testing.assert_close(loss(z, t), expected)
    torch.testing.assert_close(loss(t.log(), t), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(loss(z, CLASSES), F.cross_entropy(z, CLASSES))


def test_focal_without_focus_is_the_cross_entropy() -> None:
    z = logits(8, 3)
    loss = Focal(spec("classification"), gamma=0.0)
    torch.testing.assert_close(loss(z, CLASSES), F.cross_entropy(z, CLASSES))
    loss = Focal(spec("multilabel"), gamma=0.0)
    torch.testing.assert_close(loss(z, LABELS), F.binary_cross_entropy_with_logits(z, LABELS))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_of_classes_is_the_papers_formula(gamma: float) -> None:
    z, alpha = logits(8, 3), torch.tensor([0.2, 0.3, 0.5])
    p = z.softmax(1)[range(8), CLASSES]
    expected = (-alpha[CLASSES] * (1 - p) ** gamma * p.log()).mean()
    loss = Focal(spec("classification"), gamma=gamma, alpha=alpha.tolist())
    torch.testing.assert_close(loss(z, CLASSES), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("alpha", [0.25, [0.25, 0.5, 0.75]])
def test_focal_of_labels_is_the_papers_formula(gamma: float, alpha: float | list[float]) -> None:
    z = logits(8, 3)
    p = torch.where(LABELS == 1, z.sigmoid(), 1 - z.sigmoid())
    weights = torch.tensor(alpha).double().expand(8, 3)
    weights = torch.where(LABELS == 1, weights, 1 - weights)
    expected = (-weights * (1 - p) ** gamma * p.log()).mean()
    loss = Focal(spec("multilabel"), gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss(z, LABELS), expected)


def test_one_alpha_for_two_classes_weighs_the_second() -> None:
    z = logits(8, 2)
    one = Focal(spec("classification", 2), alpha=0.25)
    two = Focal(spec("classification", 2), alpha=[0.75, 0.25])
    torch.testing.assert_close(one(z, PAIR), two(z, PAIR))


# Labels, and classes one by one.


@pytest.mark.parametrize("weight", [None, 2.5, [0.5, 1.0, 3.0]])
def test_binary_cross_entropy_of_labels_is_torchs(weight: float | list[float] | None) -> None:
    z = logits(8, 3)
    expected = F.binary_cross_entropy_with_logits(
        z, LABELS, pos_weight=None if weight is None else torch.tensor(weight).double()
    )
    loss = BinaryCrossEntropy(spec("multilabel"), pos_weight=weight)
    torch.testing.assert_close(loss(z, LABELS), expected)


def test_binary_cross_entropy_of_two_classes_is_the_cross_entropy_of_the_difference() -> None:
    z = logits(8, 2)
    difference = z[:, 1:] - z[:, :1]
    loss = BinaryCrossEntropy(spec("classification", 2))
    torch.testing.assert_close(loss(difference, PAIR), F.cross_entropy(z, PAIR))
    torch.testing.assert_close(loss.link(difference), z.softmax(1))


def test_binary_cross_entropy_of_many_classes_takes_each_against_the_rest() -> None:
    z = logits(8, 3)
    expected = F.binary_cross_entropy_with_logits(z, F.one_hot(CLASSES, 3).double())
    loss = BinaryCrossEntropy(spec("classification"))
    torch.testing.assert_close(loss(z, CLASSES), expected)
    p = z.sigmoid()
    torch.testing.assert_close(loss.link(z), p / p.sum(1, keepdim=True))


@pytest.mark.parametrize(("size", "counts"), [(2, (6, 2)), (3, (5, 3, 2))])
def test_balanced_positive_weights_even_out_both_sides(size: int, counts: tuple[int, ...]) -> None:
    loss = BinaryCrossEntropy(spec("classification", size, counts), pos_weight="balanced")
    y = torch.repeat_interleave(torch.arange(size), torch.tensor(counts))
    z = torch.zeros(len(y), loss.output_size(spec("classification", size)), requires_grad=True)
    loss(z, y).backward()
    assert z.grad is not None
    # Where all logits are equal, a balanced loss leaves each at rest over the whole data.
    torch.testing.assert_close(z.grad.sum(0), torch.zeros(z.shape[1]))


def test_hinge_of_labels_is_the_margin_on_signs() -> None:
    z = logits(8, 3)
    expected = (1 - (2 * LABELS - 1) * z).clamp(min=0).mean()
    torch.testing.assert_close(Hinge(spec("multilabel"))(z, LABELS), expected)
    torch.testing.assert_close(Hinge(spec("generation"))(z, LABELS), expected)


def test_hinge_of_two_classes_is_scikit_learns() -> None:
    z = logits(8, 1)
    expected = hinge_loss(PAIR.numpy(), z.squeeze(1).numpy())
    assert float(Hinge(spec("classification", 2))(z, PAIR)) == pytest.approx(expected)


def test_hinge_of_many_classes_is_scikit_learns_crammer_singer() -> None:
    z = logits(8, 3)
    expected = hinge_loss(CLASSES.numpy(), z.numpy(), labels=[0, 1, 2])
    assert float(Hinge(spec("classification"))(z, CLASSES)) == pytest.approx(expected)


def test_hinge_one_vs_all_is_the_mean_of_scikit_learns_binary_losses() -> None:
    z = logits(8, 3)
    parts = [hinge_loss(CLASSES.eq(c).numpy(), z[:, c].numpy()) for c in range(3)]
    loss = Hinge(spec("classification"), multiclass="one_vs_all")
    assert float(loss(z, CLASSES)) == pytest.approx(np.mean(parts))


def test_hinge_counts_a_tied_rival() -> None:
    z = torch.tensor([[2.0, 2.0, 0.0]])
    loss = Hinge(spec("classification"))
    assert [float(loss(z, torch.tensor([c]))) for c in range(3)] == [1.0, 1.0, 3.0]


# Values.


@pytest.mark.parametrize("shape", [(8, 2), (4, 3, 5, 5)])
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (MeanSquaredError(), lambda e: e**2),
        (MeanAbsoluteError(), lambda e: e.sign() * e),
        (Huber(), lambda e: torch.where(e.abs() < 1, e**2 / 2, e.abs() - 0.5)),
        (Huber(delta=0.3), lambda e: torch.where(e.abs() < 0.3, e**2 / 2, 0.3 * e.abs() - 0.045)),
        (LogCosh(), lambda e: e.cosh().log()),
    ],
)
def test_losses_of_values(
    loss: Loss, formula: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    y, t = 2 * logits(*shape), logits(*shape).flip(0)
    torch.testing.assert_close(loss(y, t), formula(y - t).mean())
    assert torch.equal(loss.link(y), y)
    assert not loss.raw_targets


def test_quantile_is_scikit_learns_pinball_loss() -> None:
    y, t, quantiles = logits(8, 6), logits(8, 2).flip(0), (0.2, 0.6, 0.95)
    parts = [
        mean_pinball_loss(t[:, target].numpy(), y[:, 3 * target + i].numpy(), alpha=q)
        for target in range(2)
        for i, q in enumerate(quantiles)
    ]
    loss = Quantile(quantiles=quantiles)
    assert float(loss(y, t)) == pytest.approx(np.mean(parts))
    assert torch.equal(loss.link(y), y[:, [1, 4]])


def test_quantile_is_lowest_at_the_empirical_quantiles() -> None:
    t = torch.linspace(0, 1, 101).unsqueeze(1)
    loss = Quantile(quantiles=(0.25, 0.75))
    y = torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.SGD([y], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        loss(y.expand(101, 2), t).backward()
        optimizer.step()
    torch.testing.assert_close(y.detach(), torch.tensor([[0.25, 0.75]]), atol=0.02, rtol=0)


@pytest.mark.parametrize("quantiles", [(), (0.0, 0.5), (0.5, 1.0), (1.5,)])
def test_quantiles_outside_zero_and_one_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.quantiles needs at least one number"):
        Quantile(quantiles=quantiles)


def test_poisson_is_torchs_likelihood() -> None:
    z, t = logits(8, 2), torch.tensor([[0.0, 3.0], [1.0, 7.0]] * 4).double()
    short = PoissonNLL()
    full = PoissonNLL(full=True)
    torch.testing.assert_close(short(z, t), F.poisson_nll_loss(z, t))
    expected = -np.mean(poisson.logpmf(t.numpy(), z.exp().numpy()))
    assert float(full(z, t)) == pytest.approx(expected)
    torch.testing.assert_close(short.link(z), z.exp())
    assert short.raw_targets


def test_poisson_rates_grow_on_and_stay_finite_far_out() -> None:
    loss = PoissonNLL()
    z = torch.tensor([[29.0], [30.0], [31.0], [100.0], [1e4]])
    rates = loss.link(z)
    assert rates.isfinite().all()
    assert (rates.diff(dim=0) > 0).all()
    torch.testing.assert_close(rates[:2], z[:2].exp())


def test_poisson_of_a_negative_target_is_nan() -> None:
    loss = PoissonNLL()
    assert loss(torch.zeros(2, 1), torch.tensor([[1.0], [-1.0]])).isnan()
