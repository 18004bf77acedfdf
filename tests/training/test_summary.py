import pytest
import torch
from torch import Tensor, nn

from dlframe.components.losses.regression import MeanSquaredError
from dlframe.components.tasks.regression import Regression
from dlframe.interfaces import Batch, Spec
from dlframe.training.summary import count_parameters, summarize

SPEC = Spec(input="features", input_shape=(6,), output_size=1, task="regression")


class Odd(nn.Module):
    """A parameter of its own, running statistics, dropout, a frozen layer, and counting of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.inner = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 1)
        self.head.requires_grad_(False)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y: Tensor = self.head(self.inner(x * self.scale))
        return y


@pytest.fixture
def task() -> Regression:
    return Regression(SPEC, MeanSquaredError())


def test_each_layer_has_a_line_and_the_sum_is_the_whole(task: Regression) -> None:
    network = Odd()
    rows = [
        line.split() for line in
        summarize(network, task, Batch(torch.zeros(5, 6), torch.zeros(5, 1))).split("\n\n")[0]
        .splitlines()
    ]  # fmt: skip
    assert rows[0] == ["layer", "kind", "output", "parameters", "trained"]
    assert ["inner.0", "Linear", "[4]", "28", "28"] in rows
    assert ["inner.1", "BatchNorm1d", "[4]", "8", "8"] in rows
    assert ["inner.2", "Dropout", "[4]"] in rows
    assert ["head", "Linear", "[1]", "5", "0"] in rows
    assert rows[-1] == ["(all)", "Odd", "[1]", "47", "42"]
    assert count_parameters(network) == (47, 42)


def test_nothing_of_network_or_random_numbers_is_changed(task: Regression) -> None:
    network = Odd()
    network.train()
    network.inner[0].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    summarize(
        network, task, Batch(torch.randn(5, 6, generator=torch.Generator()), torch.zeros(5, 1))
    )
    assert torch.equal(torch.rand(3), expected)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert network.training
    assert network.inner[1].training
    assert not network.inner[0].training
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_that_cannot_run_has_a_table_without_shapes(task: Regression) -> None:
    table = summarize(nn.Linear(3, 1), task, Batch(torch.zeros(5, 6), torch.zeros(5, 1)))
    assert "shapes are missing: RuntimeError" in table
    assert "(all)  Linear" in table
