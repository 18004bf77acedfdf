"""The one LightningModule: it runs whatever task, network and regularizers it is given.

One call of ``training_step`` runs several optimizer steps (a ``Chunk``), so that Lightning's cost per
call is shared among them. Optimization is manual for that reason; it also carries tasks that train
several networks, and optimizers that need a closure.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from dlframe.interfaces import Batch, Regularizer, Task
from dlframe.training.build import needs_closure
from dlframe.training.finite import check_finite
from dlframe.training.interruption import Interruption
from dlframe.training.layers import LayerWatch, loss_scale
from dlframe.training.loader import Chunk, TensorLoader
from dlframe.training.pace import Pace
from dlframe.training.schedules import move
from dlframe.training.state import keep, restore, set_random_state
from dlframe.training.sums import EpochSums, EvaluationSums

__all__ = ["TrainingModule"]

_PATIENCE = 5.0
"""Seconds after Ctrl-C in which training may reach the next place from which it can go on."""

Log = Callable[[dict[str, float], int], None]


class TrainingModule(L.LightningModule):
    """Trains ``network`` on ``task``.

    Args:
        network: the model.
        loader: the training part's batches.
        task: what a step, a prediction and a metric are.
        regularizers: applied in order.
        optimizer: makes an optimizer from parameters.
        scheduler: makes a schedule from an optimizer and the number of all steps and of an epoch's.
        per_step: whether the schedule moves after each step instead of each epoch.
        accumulate: batches per optimizer step.
        max_steps: optimizer steps at most; -1 has no limit.
        steps_per_call: optimizer steps per Lightning batch; None adapts.
        channels_last: memory format of image batches.
        log: receives metrics and the number of optimizer steps so far.
        layers: measures the layers; None measures nothing.
        interruption: asks the training to stop.

    Attributes:
        steps: optimizer steps so far.
        history: what was logged, with the number of the epoch, from 1, and of the step.
        sums: what the epoch has added up so far.
        position: the epoch, from 0, and the place in its order up to which it was trained on.
        resumed: the state of this process that a resumed training begins with, until it has begun.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loader: TensorLoader,
        task: Task,
        regularizers: Sequence[Regularizer],
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer, int, int], LRScheduler],
        per_step: bool = False,
        accumulate: int = 1,
        max_steps: int = -1,
        steps_per_call: int | None = None,
        channels_last: bool = False,
        log: Log = lambda metrics, step: None,
        layers: LayerWatch | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.loader = network, loader
        self.loss = task.loss  # a submodule, so that its buffers follow the device
        self.task = task
        self.regularizers = list(regularizers)
        self.accumulate, self.max_steps = accumulate, max_steps
        self.steps_per_call, self.channels_last = steps_per_call, channels_last
        self.steps = 0
        self.history: list[dict[str, float]] = []
        self._make_optimizer, self._make_scheduler = optimizer, scheduler
        self.per_step, self._log, self.layers = per_step, log, layers
        self._interruption = interruption or Interruption()
        self.train_metrics = task.metrics("train")
        self.sums = EpochSums(self.train_metrics)
        self.val_metrics = task.metrics("val")
        self.test_metrics = task.metrics("test")
        self._val_sums = EvaluationSums("val", self.val_metrics)
        self._test_sums = EvaluationSums("test", self.test_metrics)
        self.test_outputs: list[tuple[Tensor, Tensor]] = []
        self._pending = 0
        self._counted: dict[str, float] = {}
        self.position = (0, 0)
        self.resumed: dict[str, Any] | None = None
        self._epoch_started, self._steps_before = 0.0, 0
        self._began, self.seconds_before = time.monotonic(), 0.0

        def overriding(name: str) -> list[Any]:
            base = getattr(Regularizer, name)
            return [r for r in self.regularizers if getattr(type(r), name, base) is not base]

        self._on_batch, self._penalties = overriding("on_batch"), overriding("penalty")
        self._on_gradients, self._after_step = overriding("on_gradients"), overriding("after_step")

    @property
    def seconds(self) -> float:
        """Wall-clock time of the training so far, that of attempts before included."""
        return self.seconds_before + time.monotonic() - self._began

    @property
    def changes_gradients(self) -> bool:
        """Whether a regularizer looks at gradients before the optimizer does."""
        return bool(self._on_gradients)

    @property
    def accumulating(self) -> bool:
        """Whether gradients wait for further batches before the optimizer's next step."""
        return self._pending > 0

    # --- optimizers -------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Make an optimizer and a schedule for each of the task's players."""
        per_epoch = max(1, -(-self.loader.batches // self.accumulate))
        ends = [self.max_steps, per_epoch * (self.trainer.max_epochs or 0)]
        total = min((end for end in ends if end > 0), default=0)
        made = []
        for part in self.task.players(self.network).values():
            optimizer = self._make_optimizer([p for p in part.parameters() if p.requires_grad])
            scheduler = self._make_scheduler(optimizer, total or per_epoch, per_epoch)
            made.append({"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}})
        return made

    def on_fit_start(self) -> None:
        """Bind players to optimizers; give each process its own random numbers."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        parts = self.task.players(self.network)
        self._players = list(zip(parts, optimizers, strict=True))
        self._parts = {
            id(optimizer.optimizer): part
            for part, (_, optimizer) in zip(parts.values(), self._players, strict=True)
        }
        for name, optimizer in self._players:
            if self.task.every(name) > 1:
                # Torch warns where a schedule moves first, as it does if training goes on between
                # two moves of a player that waits.
                optimizer.optimizer._opt_called = True  # type: ignore[attr-defined]
        self._closures = {
            name: needs_closure(optimizer.optimizer) for name, optimizer in self._players
        }
        if self.distributed:
            torch.manual_seed(torch.initial_seed() + self.trainer.global_rank)
        self._pace = Pace(self.loader, self.steps_per_call, self.accumulate)

    # --- training ---------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Go on with the random numbers of the training that is resumed."""
        self._interruption.renew()
        if self.resumed:
            set_random_state(self.resumed["random"])

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's sums, unless it is that epoch that is resumed."""
        self.sums.clear()
        self._epoch_started, self._steps_before = time.perf_counter(), self.steps
        if self.resumed and self.position[1] > 0:
            set_random_state(self.resumed["random"])
            self.sums.load_state_dict(self.resumed["sums"], self.device)
        self.resumed = None

    def training_step(self, chunk: Chunk, index: int) -> None:
        """Run the optimizer steps of one chunk."""
        started = time.perf_counter()
        losses: list[Tensor] = []
        batches = list(chunk.batches())
        for number, batch in enumerate(batches):
            last = chunk.ends_epoch and number == len(batches) - 1
            loss, predicted, batch = self._train_batch(batch, last)
            losses.append(loss)
            if predicted is not None and batch.clean:
                self.sums.predicted(predicted, batch.y)
        check_finite(
            torch.stack(losses),
            steps=self.steps,
            accumulate=self.accumulate,
            epoch=self.current_epoch + 1,
            over_processes=self._over_processes if self.distributed else None,
        )
        self.position = (chunk.epoch, chunk.stop)
        self._learn_pace(time.perf_counter() - started, len(batches))

    def on_train_batch_end(self, outputs: Any, chunk: Chunk, index: int) -> None:
        """Stop, if that was asked for; a callback has written the checkpoint before."""
        waits = chunk.ends_epoch or self.accumulating  # for a place from which training can go on
        self._interruption.check(patience=_PATIENCE if waits else 0.0)

    def _train_batch(self, batch: Batch, last: bool) -> tuple[Tensor, Tensor | None, Batch]:
        """Run one batch through all players; return the loss to watch, predictions and batch."""
        if self.channels_last and batch.x.ndim == 4:
            batch.x = batch.x.contiguous(memory_format=torch.channels_last)
        batch = self.task.prepare(batch)
        first = self._players[0][0]
        for regularizer in self._on_batch:
            batch = regularizer.on_batch(
                batch, lambda b: self.task.step(self.network, b, first).loss
            )
        if self.layers is not None and self._pending == 0:
            self.layers.begin(self.steps + 1)
        self._pending += 1
        stepping = last or self._pending == self.accumulate
        total, predicted = None, None
        for name, optimizer in self._players:
            if self.steps % self.task.every(name):
                continue
            loss, found = self._play(name, optimizer, batch, stepping)
            total = loss if total is None else total + loss
            predicted = predicted if found is None else found
        assert total is not None
        self.sums.count(len(batch.x))
        if stepping:
            self._pending = 0
            self.steps += 1
            if self.layers is not None and self.layers.measuring:
                self._record(self.layers.end(self.current_epoch + 1, self.steps))
            with torch.no_grad():
                for regularizer in self._after_step:
                    regularizer.after_step(self.network)
            if self.per_step:
                move(self.lr_schedulers())
        return total, predicted, batch

    def _play(
        self, name: str, optimizer: LightningOptimizer, batch: Batch, stepping: bool
    ) -> tuple[Tensor, Tensor | None]:
        """One player's backward pass and, unless gradients still accumulate, its step."""
        several = len(self._players) > 1
        if several:  # gradients of one player's loss must not gather in another's parameters
            self.toggle_optimizer(optimizer)
        found: list[tuple[Tensor, Tensor | None]] = []

        def evaluate() -> Tensor:
            step = self.task.step(self.network, batch, name)
            loss = step.loss
            for regularizer in self._penalties:
                penalty = regularizer.penalty(self.network)
                if penalty is not None:
                    loss = loss + penalty
            self.manual_backward(loss / self.accumulate if self.accumulate > 1 else loss)
            detached = loss.detach()
            found.append((detached, step.predictions))
            if len(found) == 1:
                self.sums.add(f"loss_{name}" if several else "loss", detached, len(batch.x))
                for key, value in step.logs.items():
                    self.sums.add(key, value.detach(), len(batch.x))
            return loss

        if self._closures[name]:

            def closure() -> Tensor:
                optimizer.zero_grad()
                return evaluate()

            optimizer.step(closure=closure)
        else:
            evaluate()
            if stepping:
                optimizer.step()
                optimizer.zero_grad()
        if several:
            self.untoggle_optimizer(optimizer)
        return found[0]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let regularizers change the gradients of the part that is about to move."""
        if self.layers is not None and self.layers.measuring:
            scale = loss_scale(self.trainer, optimizer)
            self.layers.gradients(self._parts[id(optimizer)], scale)
        for regularizer in self._on_gradients:
            regularizer.on_gradients(self._parts[id(optimizer)])

    def _learn_pace(self, seconds: float, batches: int) -> None:
        if self.distributed and self._pace.adapts:
            # All processes must make the same calls, or they wait for ever.
            seconds = float(self._over_processes(torch.tensor(seconds, device=self.device)))
            seconds /= self.trainer.world_size
        self._pace.took(seconds, batches)

    def on_train_epoch_end(self) -> None:
        """Report the epoch and move schedules that follow epochs."""
        results = self.sums.results(self._added_up)
        values = {f"train/{key}": value for key, value in results.items()}
        self.log_dict(values, sync_dist=self.distributed)
        optimizer = self._players[0][1].optimizer
        values["optim/lr"] = float(optimizer.param_groups[0]["lr"])
        steps = self.steps - self._steps_before
        seconds = max(time.perf_counter() - self._epoch_started, 1e-9)
        rows = self.accumulate * self.sums.rows / self.sums.batches * self.trainer.world_size
        values["perf/steps_per_second"] = steps / seconds
        values["perf/samples_per_second"] = rows * steps / seconds
        values["perf/data_seconds"], self.loader.seconds = self.loader.seconds, 0.0
        values["epoch"] = self.current_epoch + 1
        self._record(values)
        if not self.per_step:
            move(self.lr_schedulers())
        self.position = (self.current_epoch + 1, 0)

    def _record(self, values: dict[str, float]) -> None:
        self.history.append({"epoch": self.current_epoch + 1, "step": self.steps, **values})
        self._log(values, self.steps)

    # --- evaluation -------------------------------------------------------------------------------

    def _begin(self, sums: EvaluationSums) -> None:
        sums.begin(self.device)
        if self.distributed:  # the running statistics of batch normalization differ by process
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _prepared(self, chunk: Chunk) -> Batch:
        # A process whose share holds nothing to count still runs the network, as the others do.
        rows = chunk.counted or len(chunk.x)
        batch = Batch(chunk.x[:rows], chunk.y[:rows])
        if self.channels_last and batch.x.ndim == 4:
            batch.x = batch.x.contiguous(memory_format=torch.channels_last)
        return self.task.prepare(batch)

    def _evaluate(self, chunk: Chunk, sums: EvaluationSums) -> tuple[Tensor, Tensor]:
        self._interruption.check(patience=_PATIENCE if self.trainer.validating else 0.0)
        batch = self._prepared(chunk)
        loss, predictions = self.task.evaluate(self.network, batch)
        predictions, targets = predictions.float()[: chunk.counted], batch.y[: chunk.counted]
        sums.add(loss, predictions, targets)
        return predictions, targets

    def on_validation_epoch_start(self) -> None:
        """Prepare to evaluate the validation part."""
        self._begin(self._val_sums)

    def validation_step(self, chunk: Chunk, index: int) -> None:
        """Evaluate one batch; of the first, count the units that never fire."""
        self._evaluate(chunk, self._val_sums)
        if index == 0 and self.layers is not None and self.layers.asks:
            batch = self._prepared(chunk)
            self.layers.count(lambda: self.task.evaluate(self.network, batch))
            self._counted = self.layers.counted()

    def on_validation_epoch_end(self) -> None:
        """Report the validation part."""
        values = self._val_sums.results(self._added_up)
        self.log_dict(values, sync_dist=self.distributed)
        if self.trainer.sanity_checking:
            return
        self._record(values | self._counted)
        self._counted = {}
        monitored = values.get(self.task.monitor)
        if monitored is not None and not self.per_step:
            move(self.lr_schedulers(), monitored if self.task.mode == "min" else -monitored)

    def on_test_epoch_start(self) -> None:
        """Prepare to evaluate the test part."""
        self._begin(self._test_sums)
        self.test_outputs = []

    def test_step(self, chunk: Chunk, index: int) -> None:
        """Evaluate one batch and keep its predictions for the figures."""
        predictions, targets = self._evaluate(chunk, self._test_sums)
        self.test_outputs.append((predictions.cpu(), targets.cpu()))

    def on_test_epoch_end(self) -> None:
        """Report the test part."""
        self.log_dict(self._test_sums.results(self._added_up), sync_dist=self.distributed)
        if self.distributed:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self.test_outputs)
            self.test_outputs = [pair for share in shares for pair in share]

    # --- several processes ------------------------------------------------------------------------

    @property
    def distributed(self) -> bool:
        """Whether other processes train along."""
        return self.trainer.world_size > 1

    def _over_processes(self, values: Tensor) -> Tensor:
        """Add up the values of all processes."""
        reduced: Tensor = self.trainer.strategy.reduce(values, reduce_op="sum")
        return reduced

    def _added_up(self, numbers: list[float]) -> list[float]:
        """Add up numbers over all processes."""
        if not self.distributed:
            return numbers
        added: list[float] = self._over_processes(
            torch.tensor(numbers, device=self.device)
        ).tolist()
        return added

    # --- checkpoints ------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what resuming needs besides weights, optimizers, schedules and callbacks."""
        keep(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        restore(self, checkpoint)
