"""What every loss promises, tried for each of its tasks."""

import inspect
from typing import Any

import pytest
import torch
from loss_support import CLASSES, build, logits, spec
from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses import COMPONENTS
from dlframe.interfaces.spec import Spec

SHAPED = ["mse", "mae", "huber", "log_cosh"]

LABELS = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]] * 2, dtype=torch.float64)
PAIR = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])


# What each loss is tried on by the tests of common promises: name, spec, options, outputs at the
# answer, targets. The outputs at the answer are sure and right, or equal to the targets.
def _cases() -> list[tuple[str, Spec, dict[str, Any], Tensor, Tensor]]:
    sure = 8 * (2 * F.one_hot(CLASSES, 3).double() - 1)
    sure_pair = 8 * (2 * PAIR.double().unsqueeze(1) - 1)
    sure_labels = 8 * (2 * LABELS - 1)
    values, counts = logits(8, 2), torch.tensor([[1.0, 4.0], [2.0, 9.0]] * 4).double()
    three, two = spec("classification", 3, (5, 3, 2)), spec("classification", 2, (6, 2))
    multi, real = spec("multilabel"), spec("generation", 1)
    cases: list[tuple[str, Spec, dict[str, Any], Tensor, Tensor]] = [
        ("cross_entropy", three, {}, sure, CLASSES),
        ("cross_entropy", three, {"class_weights": "balanced"}, sure, CLASSES),
        ("kl", three, {}, sure, CLASSES),
        ("binary_cross_entropy", three, {"pos_weight": "balanced"}, sure, CLASSES),
        ("binary_cross_entropy", two, {}, sure_pair, PAIR),
        ("binary_cross_entropy", multi, {"pos_weight": 2.0}, sure_labels, LABELS),
        ("binary_cross_entropy", real, {}, sure_pair, PAIR.double().unsqueeze(1)),
        ("focal", three, {}, sure, CLASSES),
        ("focal", three, {"gamma": 0.5, "alpha": "balanced"}, sure, CLASSES),
        ("focal", multi, {"gamma": 0.5, "alpha": 0.25}, sure_labels, LABELS),
        ("hinge", three, {}, sure, CLASSES),
        ("hinge", three, {"multiclass": "one_vs_all"}, sure, CLASSES),
        ("hinge", two, {}, sure_pair, PAIR),
        ("hinge", multi, {}, sure_labels, LABELS),
        ("hinge", real, {}, sure_pair, PAIR.double().unsqueeze(1)),
        ("quantile", spec("regression", 2), {}, values.repeat_interleave(3, 1), values),
        ("poisson_nll", spec("regression", 2), {}, counts.log(), counts),
        ("poisson_nll", spec("regression", 2), {"full": True}, counts.log(), counts),
    ]
    cases += [(name, spec("regression", 2), {}, values, values) for name in SHAPED]
    image = logits(2, 1, 4, 4).sigmoid()
    cases += [(name, spec("reconstruction", 16), {}, image, image) for name in SHAPED]
    cases.append(
        ("binary_cross_entropy", spec("reconstruction", 16), {}, image.logit(), image),
    )
    return cases


CASES = _cases()
on_every_case = pytest.mark.parametrize(("name", "about", "options", "outputs", "targets"), CASES)


def test_every_loss_and_each_of_its_tasks_is_tried() -> None:
    tried = {(name, about.task) for name, about, *_ in CASES}
    declared = {(c.name, task) for c in COMPONENTS for task in c.tasks}
    assert declared - tried == {
        ("mse", "generation"),  # of one shape, as in regression
        ("cross_entropy", "language_modelling"),  # tokens are classes
        ("wasserstein", "generation"),  # it has no least value; in test_unsupervised_tasks
    }


@on_every_case
def test_lower_at_the_answer_than_away_from_it(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    at_the_answer = loss(outputs, targets)
    for factor in (-1.0, -0.5):
        assert at_the_answer < loss(outputs * factor, targets)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        away = outputs + 20 * torch.randn(outputs.shape, generator=generator).double()
        assert at_the_answer < loss(away, targets)


@on_every_case
def test_the_order_of_examples_does_not_matter(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    outputs = outputs + logits(*outputs.shape)
    order = torch.randperm(len(outputs), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss(outputs[order], targets[order]), loss(outputs, targets))


@on_every_case
def test_the_loss_of_a_batch_is_the_mean_of_its_examples(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    outputs = outputs + logits(*outputs.shape)
    pairs = zip(outputs.unsqueeze(1), targets.unsqueeze(1), strict=True)
    mean = torch.stack([loss(output, target) for output, target in pairs]).mean()
    torch.testing.assert_close(loss(outputs, targets), mean)


@on_every_case
def test_the_gradient_matches_differences(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    outputs = (0.3 * outputs + logits(*outputs.shape)).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, targets), (outputs,))


@on_every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e4, -1e4])
def test_finite_at_extreme_outputs(
    name: str,
    about: Spec,
    options: dict[str, Any],
    outputs: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    size: float,
) -> None:
    given = (size * outputs.sign()).to(dtype).requires_grad_()
    loss = build(name, about, **options)
    value = loss(given, targets.float() if targets.is_floating_point() else targets)
    (gradient,) = torch.autograd.grad(value, given)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert loss.link(given.detach()).isfinite().all()


@on_every_case
def test_autocast_to_bfloat16_agrees_with_float32(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    weight = torch.eye(outputs.shape[-1]).requires_grad_()
    targets = targets.float() if targets.is_floating_point() else targets
    outputs = outputs.float() + logits(*outputs.shape).float()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(outputs @ weight, targets)
        prediction = loss.link(outputs @ weight)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(outputs, targets), rtol=0.03, atol=0.01)
    torch.testing.assert_close(prediction.float(), loss.link(outputs), rtol=0.05, atol=0.02)
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


@on_every_case
def test_nothing_is_stored_with_the_weights(
    name: str, about: Spec, options: dict[str, Any], outputs: Tensor, targets: Tensor
) -> None:
    loss = build(name, about, **options)
    assert not loss.state_dict()
    moved = loss.to(torch.float64)
    torch.testing.assert_close(moved(outputs, targets), loss(outputs, targets))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_options_are_keywords_with_defaults_and_documented(component: Any) -> None:
    target = component.load()
    assert "__init__" in vars(target)
    for name, parameter in inspect.signature(target).parameters.items():
        if name != "spec":
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.default is not inspect.Parameter.empty
            assert f"\n        {name}: " in target.__doc__
