"""What a task must do."""

from typing import cast, get_args

import torch
from torch import Tensor, nn

from dlframe.interfaces import Batch, GenerativeAdversarial, Spec, Stage, Task
from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require
from dlframe.testing.examples import batch_for, form_of, make_network, make_task, spec_for

__all__ = ["CHECKS"]

_SIZE = 16


class _Situation:
    """The task with its default loss, a network for it and a batch."""

    def __init__(self, case: Case) -> None:
        self.spec: Spec = spec_for(case.entry.id)
        self.task: Task = make_task(self.spec, node=case.node())
        self.network: nn.Module = make_network(self.task, self.spec)
        require(
            isinstance(self.network, self.task.needs),
            f"no architecture here is a {self.task.needs.__name__}, which the task needs; declare "
            "one that names the task",
        )

    def batch(self) -> Batch:
        return self.task.prepare(batch_for(self.spec, _SIZE))

    def rows(self) -> Tensor:
        """What ``predict`` takes: examples, or noise for a generator."""
        if form_of(self.spec.task) == "generation":
            return torch.randn(_SIZE, cast("GenerativeAdversarial", self.network).latent_size)
        return batch_for(self.spec, _SIZE).x

    def predictions(self) -> Tensor:
        with torch.no_grad():
            return self.task.predict(self.network.eval(), self.rows())


def constructs(case: Case) -> None:
    """It is built around a spec and a loss, drawing no random numbers."""
    found = _Situation(case)
    require(isinstance(found.task, Task), f"{type(found.task).__name__} does not derive from Task")
    draws_nothing(lambda: make_task(found.spec, node=case.node()))
    size = found.task.output_size()
    require(size > 0, f"output_size() is {size!r}")


def steps(case: Case) -> None:
    """Each player's step gives a finite scalar whose gradient reaches that player."""
    found = _Situation(case)
    network = found.network.train()
    for player, part in found.task.players(network).items():
        network.zero_grad()
        step = found.task.step(network, found.batch(), player)
        require(step.loss.shape == (), f"the loss of {player} has shape {list(step.loss.shape)}")
        require(bool(torch.isfinite(step.loss)), f"the loss of {player} is {step.loss.item():g}")
        torch.autograd.backward(step.loss)
        reached = [p.grad is not None and bool(p.grad.any()) for p in part.parameters()]
        require(any(reached), f"the loss of {player} has no gradient in its part of the network")
        for name, value in step.logs.items():
            require(value.numel() == 1, f"the log {name!r} has shape {list(value.shape)}, not []")
        if step.predictions is not None:
            require(len(step.predictions) == _SIZE, "step() predicts another number of examples")
            require(not step.predictions.requires_grad, "the step's predictions are not detached")


def loss_falls(case: Case) -> None:
    """For a task with one player, 60 steps on one batch lower the loss."""
    found = _Situation(case)
    players = found.task.players(found.network)
    batch = found.batch()
    for player, part in players.items():
        optimizer = torch.optim.Adam(part.parameters(), lr=1e-2)
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            loss = found.task.step(found.network, batch, player).loss
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        require(
            losses[-1] < losses[0], f"{player}: the loss goes from {losses[0]:g} to {losses[-1]:g}"
        )


def predicts(case: Case) -> None:
    """Predictions are finite, one for each row, in float32 (int64 for texts)."""
    found = _Situation(case)
    predictions = found.predictions()
    require(len(predictions) == _SIZE, f"{_SIZE} rows give {len(predictions)} predictions")
    texts = found.task.makes_inputs and found.spec.input == "tokens"
    dtype = torch.int64 if texts else torch.float32
    require(predictions.dtype == dtype, f"predictions are {predictions.dtype}, not {dtype}")
    require(bool(torch.isfinite(predictions).all()), "predictions are not finite")


def evaluates(case: Case) -> None:
    """Evaluation gives a finite scalar loss and predictions."""
    found = _Situation(case)
    with torch.no_grad():
        loss, predictions = found.task.evaluate(found.network.eval(), found.batch())
    require(loss.shape == () and bool(torch.isfinite(loss)), f"the loss is {loss}")
    require(len(predictions) == _SIZE, f"{_SIZE} examples give {len(predictions)} predictions")


def metrics_compute(case: Case) -> None:
    """Metrics of every stage take what evaluation gives; the monitored value is among them."""
    found = _Situation(case)
    with torch.no_grad():
        batch = found.batch()
        _, predictions = found.task.evaluate(found.network.eval(), batch)
    for stage in get_args(Stage):
        metrics = found.task.metrics(stage)
        require(metrics is not found.task.metrics(stage), "metrics() must make new ones each time")
        metrics.update(predictions.float(), batch.y)
        values = metrics.compute()
        for name, value in values.items():
            number = torch.as_tensor(value)
            require(number.numel() == 1, f"{stage}: the metric {name!r} is no single number")
            require(not bool(torch.isinf(number)), f"{stage}: the metric {name!r} is infinite")
        metrics.reset()
        watched, _, name = found.task.monitor.partition("/")
        require(
            stage != watched or name == "loss" or name in values,
            f"monitor is {found.task.monitor!r}, but {stage} has only {sorted(values)}",
        )
    require(found.task.mode in ("min", "max"), f"mode is {found.task.mode!r}")


def columns_have_one_value_per_row(case: Case) -> None:
    """``columns`` gives at least one named column with a value for each prediction."""
    found = _Situation(case)
    columns = found.task.columns(found.predictions())
    require(len(columns) > 0, "it gives no column")
    for name, values in columns.items():
        require(len(values) == _SIZE, f"{name!r} has {len(values)} values for {_SIZE} predictions")


def figures_are_drawn(case: Case) -> None:
    """``figures`` gives matplotlib figures by name."""
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    found = _Situation(case)
    with torch.no_grad():
        batch = found.batch()
        _, predictions = found.task.evaluate(found.network.eval(), batch)
    for name, figure in found.task.figures(predictions, batch.y).items():
        require(isinstance(figure, Figure), f"{name!r} is a {type(figure).__name__}, not a Figure")
    require(
        not pyplot.get_fignums(), "figures() leaves figures open in pyplot; use Figure() itself"
    )


CHECKS = (
    constructs,
    steps,
    loss_falls,
    predicts,
    evaluates,
    metrics_compute,
    columns_have_one_value_per_row,
    figures_are_drawn,
)
