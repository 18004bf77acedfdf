"""Optimizers against torch's own loops, closed forms and an undisturbed run."""

import copy
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from dlframe.components.optimizers import COMPONENTS
from dlframe.components.optimizers.adam import adam
from dlframe.components.optimizers.descent import rprop, sgd
from dlframe.components.optimizers.muon import Muon, orthogonalize
from dlframe.errors import ConfigError

TARGETS = {component.name: component.load() for component in COMPONENTS}
NAMES = sorted(TARGETS)
FIRST_ORDER = [name for name in NAMES if name != "lbfgs"]

# Options that are tried beside the defaults, and the class of torch that must agree with them.
VARIANTS: list[tuple[str, dict[str, Any], type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", {"lr": 0.1}, torch.optim.SGD, {"lr": 0.1}),
    (
        "sgd",
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    (
        "sgd",
        {"momentum": 0.9, "dampening": 0.5},
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "dampening": 0.5},
    ),
    (
        "rprop",
        {"shrink": 0.4, "grow": 1.5},
        torch.optim.Rprop,
        {"etas": (0.4, 1.5), "step_sizes": (1e-6, 50)},
    ),
    ("adam", {}, torch.optim.Adam, {}),
    (
        "adam",
        {"amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9)},
        torch.optim.Adam,
        {"amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9)},
    ),
    ("adamw", {"lr": 0.02}, torch.optim.AdamW, {"lr": 0.02}),
    (
        "nadam",
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        torch.optim.NAdam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    ("radam", {"lr": 0.01}, torch.optim.RAdam, {"lr": 0.01}),
    ("adamax", {}, torch.optim.Adamax, {}),
    (
        "adagrad",
        {"lr_decay": 0.1, "initial_accumulator": 0.2},
        torch.optim.Adagrad,
        {"lr_decay": 0.1, "initial_accumulator_value": 0.2},
    ),
    ("adadelta", {"rho": 0.8}, torch.optim.Adadelta, {"rho": 0.8}),
    (
        "rmsprop",
        {"momentum": 0.5, "centered": True},
        torch.optim.RMSprop,
        {"lr": 1e-3, "momentum": 0.5, "centered": True},
    ),
    ("adafactor", {"clip_threshold": 1.5}, torch.optim.Adafactor, {"d": 1.5}),
    (
        "lbfgs",
        {"max_iter": 3, "line_search": "none", "lr": 0.1},
        torch.optim.LBFGS,
        {"max_iter": 3, "lr": 0.1, "history_size": 10},
    ),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))


def closure_for(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=generator)
    y = torch.randn(16, 2, generator=generator)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return closure


def run(optimizer: torch.optim.Optimizer, closure: Callable[[], Tensor], steps: int) -> list[float]:
    """Step as dlframe does: gradients first, except where ``step`` needs the closure."""
    losses = []
    for _ in range(steps):
        if isinstance(optimizer, torch.optim.LBFGS):
            loss = optimizer.step(closure)  # type: ignore[no-untyped-call]
        else:
            loss = closure()
            optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_descends_a_quadratic(name: str) -> None:
    w = nn.Parameter(torch.tensor([[3.0, -2.0], [1.0, 2.0]]))
    scales = torch.tensor([[1.0, 4.0], [0.5, 2.0]])
    options = {} if name in ("adadelta", "lbfgs", "rprop") else {"lr": 0.02}
    optimizer = TARGETS[name]([w], **options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (scales * w.square()).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    first = closure().item()
    last = run(optimizer, closure, 400)[-1]
    # Adadelta and Adagrad are slow by design: their first steps are tiny, or soon shrink.
    assert last < first * {"adadelta": 0.2, "adagrad": 0.6}.get(name, 0.05)


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("sgd", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}, 3000),
        ("rprop", {"lr": 1e-3}, 2000),
        ("adam", {"lr": 0.02}, 3000),
        ("adamw", {"lr": 0.02, "weight_decay": 0.0}, 3000),
        ("nadam", {"lr": 0.02}, 3000),
        ("adamax", {"lr": 0.1}, 3000),
        ("rmsprop", {"lr": 0.002}, 3000),
        ("adagrad", {"lr": 0.5}, 3000),
        ("lbfgs", {}, 10),
    ],
)
def test_finds_the_minimum_of_rosenbrock(name: str, options: dict[str, Any], steps: int) -> None:
    w = nn.Parameter(torch.tensor([-1.2, 1.0]))
    optimizer = TARGETS[name]([w], **options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (1 - w[0]).square() + 100 * (w[1] - w[0].square()).square()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    run(optimizer, closure, steps)
    torch.testing.assert_close(w.detach(), torch.ones(2), atol=0.1, rtol=0)


@pytest.mark.parametrize(("name", "options", "reference", "reference_options"), VARIANTS)
def test_equals_the_reference_step_by_step(
    name: str,
    options: dict[str, Any],
    reference: type[torch.optim.Optimizer],
    reference_options: dict[str, Any],
) -> None:
    ours, theirs = network(), network()
    loops: dict[str, Any] = {} if reference is torch.optim.LBFGS else {"foreach": False}
    pairs = [
        (ours, TARGETS[name](ours.parameters(), **options)),
        (theirs, reference(theirs.parameters(), **reference_options, **loops)),
    ]
    for _ in range(10):
        for model, optimizer in pairs:
            run(optimizer, closure_for(model, optimizer), 1)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_the_undisturbed_run_to_the_bit(name: str) -> None:
    model = network()
    optimizer = TARGETS[name](model.parameters())
    run(optimizer, closure_for(model, optimizer), 3)
    stored = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], stored)
    undisturbed = run(optimizer, closure_for(model, optimizer), 4)

    resumed_model = network()
    resumed = TARGETS[name](resumed_model.parameters())
    stored.seek(0)
    weights, state = torch.load(stored, weights_only=True)
    resumed_model.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert run(resumed, closure_for(resumed_model, resumed), 4) == undisturbed
    for a, b in zip(model.parameters(), resumed_model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_parameters_without_gradient_stay_as_they_are(name: str) -> None:
    model = network()
    unused = nn.Parameter(torch.ones(3, 3))
    frozen = next(model.parameters()).requires_grad_(False)
    before = frozen.clone()
    optimizer = TARGETS[name]([unused, *model.parameters()])
    run(optimizer, closure_for(model, optimizer), 3)
    assert torch.equal(unused, torch.ones(3, 3))
    assert torch.equal(frozen, before)


@pytest.mark.parametrize("name", [n for n in FIRST_ORDER if n != "rprop"])  # its steps are its own
def test_a_schedule_moves_every_group(name: str) -> None:
    model = network()
    optimizer = TARGETS[name](model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.0)
    closure = closure_for(model, optimizer)
    closure()
    optimizer.step()
    schedule.step()
    assert all(group["lr"] == 0 for group in optimizer.param_groups)
    before = copy.deepcopy(model.state_dict())
    closure()
    optimizer.step()
    for key, value in model.state_dict().items():  # without a rate nothing moves
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_trains_under_bfloat16_autocast_with_float32_weights(name: str) -> None:
    model = network()
    optimizer = TARGETS[name](model.parameters(), **({} if name == "adadelta" else {"lr": 0.01}))
    x, y = torch.randn(16, 4), torch.randn(16, 2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.mse_loss(model(x).float(), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.usefixtures("process_group")
def test_steps_on_the_gradients_of_distributed_training(name: str) -> None:
    plain, model = network(), network()
    distributed = DistributedDataParallel(model, gradient_as_bucket_view=True)
    losses = []
    for net in (plain, distributed):
        optimizer = TARGETS[name](net.parameters())
        losses.append(run(optimizer, closure_for(net, optimizer), 5))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adagrad"])
def test_one_kernel_steps_where_torch_has_one(name: str) -> None:
    assert all(group["fused"] for group in TARGETS[name](network().parameters()).param_groups)


def test_no_fused_kernel_for_complex_weights() -> None:
    weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    assert adam([weight]).param_groups[0]["fused"] is None


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.momentum=0\.9"):
        sgd(network().parameters(), nesterov=True, **options)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "radam", "adamax", "muon"])
@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.5), (-0.1, 0.9)])
def test_betas_out_of_range_are_refused(name: str, betas: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.betas"):
        TARGETS[name](network().parameters(), betas=betas)


def test_rprop_refuses_an_empty_range_of_steps() -> None:
    with pytest.raises(ConfigError, match="swap them"):
        rprop(network().parameters(), min_step=1.0, max_step=0.5)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonalize_is_its_polynomial_of_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalize(matrix), u @ torch.diag(s) @ vh)


def test_orthogonalize_brings_singular_values_near_one() -> None:
    matrix = torch.randn(32, 64, generator=torch.Generator().manual_seed(3))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.equal(orthogonalize(torch.zeros(3, 3)), torch.zeros(3, 3))


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_equals_torchs_muon_and_adamw(nesterov: bool) -> None:
    ours, theirs = network(), network()
    options: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1}
    optimizer = Muon(ours.parameters(), nesterov=nesterov, **options)
    weight_1, bias_1, weight_2, bias_2, weight_3, bias_3 = theirs.parameters()
    references = [
        torch.optim.Muon(
            [weight_1, weight_2], nesterov=nesterov, adjust_lr_fn="match_rms_adamw", **options
        ),
        torch.optim.AdamW(
            [bias_1, bias_2, weight_3, bias_3], betas=(0.9, 0.95), fused=True, **options
        ),
    ]
    for _ in range(10):
        closure_for(ours, optimizer)()
        optimizer.step()
        theirs.zero_grad()
        closure_for(theirs, references[1])()
        for reference in references:
            reference.step()
        # torch orthogonalizes in bfloat16, so only the size of the steps agrees to all digits
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


def test_muon_gives_only_hidden_weights_to_muon() -> None:
    convolution, dense, output = nn.Conv2d(1, 4, 3), nn.Linear(16, 5), nn.Linear(5, 3)
    model = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), dense, nn.ReLU(), output)
    position = nn.Parameter(torch.zeros(1, 7, 2))  # a table with one row is no matrix
    params = [position, *model.parameters()]
    hidden, rest = Muon(params).param_groups
    assert list(map(id, hidden["params"])) == [id(convolution.weight), id(dense.weight)]
    assert len(rest["params"]) == len(params) - 2
    hidden, _ = Muon(params, skip_first=True).param_groups
    assert list(map(id, hidden["params"])) == [id(dense.weight)]


def test_muon_without_hidden_weights_is_adamw() -> None:
    ours, theirs = nn.Linear(4, 2), nn.Linear(4, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Muon(ours.parameters())
    reference = torch.optim.AdamW(
        theirs.parameters(), betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    for model, any_optimizer in ((ours, optimizer), (theirs, reference)):
        run(any_optimizer, closure_for(model, any_optimizer), 5)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_muon_evaluates_a_closure() -> None:
    model = network()
    optimizer = Muon(model.parameters())
    closure = closure_for(model, optimizer)
    expected = closure().item()
    assert optimizer.step(lambda: closure().item()) == expected
