"""The hand-written PyTorch loop that dlframe is measured against, and the networks it trains."""

from dataclasses import dataclass

import torch
from measure import median
from stopwatch import EpochTimes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dlframe.training.prepare import Parts

__all__ = [
    "BATCH",
    "EVALUATION_BATCH",
    "LR",
    "Measured",
    "cnn",
    "copied",
    "evaluate",
    "mlp",
    "raw_loop",
]

BATCH, EVALUATION_BATCH, LR = 32, 1024, 1e-3


@dataclass
class Measured:
    """One training: mean training loss of each epoch, its times, and the steps per epoch."""

    losses: list[float]
    times: EpochTimes
    steps: int

    @property
    def microseconds(self) -> float:
        """Time per step in the middle epoch of those after the first."""
        return median(self.times.seconds[1:]) / self.steps * 1e6

    @property
    def cpu_microseconds(self) -> float:
        """The same in CPU time."""
        return median(self.times.cpu[1:]) / self.steps * 1e6


def mlp() -> nn.Module:
    """64-128-128-10, 26,122 parameters."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def cnn() -> nn.Module:
    """The network of the Keras tutorial on MNIST, 347,146 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 13 * 13, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order in which dlframe visits the rows of an epoch."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator)


def copied(network: nn.Module, parts: Parts) -> nn.Module:
    """The hand-written network with the initial weights of dlframe's."""
    values = parts.network.state_dict().values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network


def raw_loop(network: nn.Module, parts: Parts, steps: int, epochs: int) -> Measured:
    """Fused Adam, batches by index, no value of a step read."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, fused=True)
    train, val, seed = parts.splits.train, parts.splits.val, parts.config["seed"]
    times = EpochTimes()
    losses = []
    for epoch in range(epochs):
        times.on_train_epoch_start()
        network.train()
        total = torch.zeros(())
        visited = order(seed, epoch, len(train.x))
        for start in range(0, steps * BATCH, BATCH):
            rows = visited[start : start + BATCH]
            loss = cross_entropy(
                network(train.x.index_select(0, rows)), train.y.index_select(0, rows)
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach() * len(rows)  # the last batch may be shorter
        losses.append(float(total) / min(len(visited), steps * BATCH))
        network.eval()
        evaluate(network, val.x, val.y)
    times.on_train_end()
    return Measured(losses, times, steps)


@torch.inference_mode()
def evaluate(network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Loss and accuracy over the validation part."""
    loss, right = 0.0, 0
    for start in range(0, len(x), EVALUATION_BATCH):
        targets = y[start : start + EVALUATION_BATCH]
        outputs = network(x[start : start + EVALUATION_BATCH])
        loss += float(cross_entropy(outputs, targets)) * len(targets)
        right += int((outputs.argmax(1) == targets).sum())
    return loss / len(y), right / len(y)
