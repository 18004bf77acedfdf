"""The one LightningModule: it runs whatever task, network and regularizers it is given.

One call of ``training_step`` runs several optimizer steps (a ``Chunk``), so that Lightning's cost per
call is shared among them. Optimization is manual for that reason; it also carries tasks that train
several networks, and optimizers that need a closure.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dlframe.errors import TrainingDivergedError
from dlframe.interfaces import Batch, Regularizer, Task
from dlframe.training.loader import Chunk, TensorLoader

__all__ = ["TrainingModule", "needs_closure"]

_CALL_SECONDS = 0.04
"""How long one call should take: long against Lightning's 0.5 ms, short against a progress bar."""
_MOST_STEPS = 512
_EVALUATION_SEED = 0

Log = Callable[[dict[str, float], int], None]


class TrainingModule(L.LightningModule):
    """Trains ``network`` on ``task``.

    Args:
        network: the model.
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
    """

    def __init__(
        self,
        *,
        network: nn.Module,
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
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.loss = task.loss  # a submodule, so that its buffers follow the device
        self.task = task
        self.regularizers = list(regularizers)
        self.accumulate, self.max_steps = accumulate, max_steps
        self.steps_per_call, self.channels_last = steps_per_call, channels_last
        self.steps = 0
        self.batches_in_epoch, self._rows = 0, 0
        self._make_optimizer, self._make_scheduler = optimizer, scheduler
        self.per_step, self._log_metrics = per_step, log
        self.train_metrics = task.metrics("train")
        self.val_metrics = task.metrics("val")
        self.test_metrics = task.metrics("test")
        self.test_outputs: list[tuple[Tensor, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._eval_loss = [0.0, 0]
        self._pending = 0
        self._epoch_started = 0.0

        def overriding(name: str) -> list[Any]:
            base = getattr(Regularizer, name)
            return [r for r in self.regularizers if getattr(type(r), name, base) is not base]

        self._on_batch, self._penalties = overriding("on_batch"), overriding("penalty")
        self._on_gradients, self._after_step = overriding("on_gradients"), overriding("after_step")

    @property
    def changes_gradients(self) -> bool:
        """Whether a regularizer looks at gradients before the optimizer does."""
        return bool(self._on_gradients)

    # --- optimizers -------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Make an optimizer and a schedule for each of the task's players."""
        loader = self._train_loader()
        per_epoch = max(1, -(-loader.batches // self.accumulate))
        ends = [self.max_steps, per_epoch * (self.trainer.max_epochs or 0)]
        total = min((end for end in ends if end > 0), default=0)
        made = []
        for part in self.task.players(self.network).values():
            optimizer = self._make_optimizer([p for p in part.parameters() if p.requires_grad])
            scheduler = self._make_scheduler(optimizer, total or per_epoch, per_epoch)
            made.append({"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}})
        return made

    def _train_loader(self) -> TensorLoader:
        loader = self.trainer.train_dataloader
        if loader is None:
            self.trainer.fit_loop.setup_data()
            loader = self.trainer.train_dataloader
        assert isinstance(loader, TensorLoader)
        return loader

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
        self._closures = {
            name: needs_closure(optimizer.optimizer) for name, optimizer in self._players
        }
        if self._distributed:
            torch.manual_seed(torch.initial_seed() + self.trainer.global_rank)
        self._train_loader().steps_per_call = self.steps_per_call or 1

    # --- training ---------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's sums."""
        self._sums = {}
        self.batches_in_epoch, self._rows = 0, 0
        self.train_metrics.reset()
        self._epoch_started, self._steps_before = time.perf_counter(), self.steps

    def training_step(self, chunk: Chunk, index: int) -> None:
        """Run the optimizer steps of one chunk."""
        started = time.perf_counter()
        losses: list[Tensor] = []
        predictions: list[Tensor] = []
        targets: list[Tensor] = []
        batches = list(chunk.batches())
        for number, batch in enumerate(batches):
            last = chunk.ends_epoch and number == len(batches) - 1
            loss, predicted, batch = self._train_batch(batch, last)
            losses.append(loss)
            if predicted is not None and batch.clean:
                predictions.append(predicted)
                targets.append(batch.y)
        self._check_finite(torch.stack(losses))
        if predictions:
            self.train_metrics.update(torch.cat(predictions).float(), torch.cat(targets))
        self._adapt(time.perf_counter() - started, len(batches))

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
        self._pending += 1
        stepping = last or self._pending == self.accumulate
        total, predicted = None, None
        for name, optimizer in self._players:
            loss, found = self._play(name, optimizer, batch, stepping)
            total = loss if total is None else total + loss
            predicted = predicted if found is None else found
        assert total is not None
        self.batches_in_epoch += 1
        self._rows += len(batch.x)
        if stepping:
            self._pending = 0
            self.steps += 1
            with torch.no_grad():
                for regularizer in self._after_step:
                    regularizer.after_step(self.network)
            if self.per_step:
                self._move_schedules()
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
                self._add(f"loss_{name}" if several else "loss", detached, len(batch.x))
                for key, value in step.logs.items():
                    self._add(key, value.detach(), len(batch.x))
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
        for regularizer in self._on_gradients:
            regularizer.on_gradients(self._parts[id(optimizer)])

    def _add(self, key: str, mean: Tensor, rows: int) -> None:
        total = mean * rows
        self._sums[key] = self._sums[key] + total if key in self._sums else total

    def _check_finite(self, losses: Tensor) -> None:
        wrong = ~torch.isfinite(losses)
        if self._distributed:  # one process that stopped alone would leave the others waiting
            wrong = self._over_processes(wrong.int()) > 0
        if bool(wrong.any()):
            first = int(wrong.nonzero()[0])
            step = self.steps - (len(losses) - 1 - first) // self.accumulate
            raise TrainingDivergedError(
                f"the training loss became {float(losses[first])} at optimizer step {step} (epoch "
                f"{self.current_epoch + 1}); try a lower optimizer.lr, trainer.gradient_clip=1, or "
                "check the data for extreme values"
            )

    def _adapt(self, seconds: float, batches: int) -> None:
        """Choose how many steps the next call runs; results do not depend on it."""
        if self.steps_per_call is None:
            if self._distributed:  # all processes must make the same calls, or they wait for ever
                seconds = float(self._over_processes(torch.tensor(seconds, device=self.device)))
                seconds /= self.trainer.world_size
            wanted = int(_CALL_SECONDS / max(seconds / batches, 1e-6))
            loader = self._train_loader()
            loader.steps_per_call = max(1, min(wanted, 4 * loader.steps_per_call, _MOST_STEPS))

    def _move_schedules(self, value: float | None = None) -> None:
        schedules = self.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules]:
            if isinstance(schedule, ReduceLROnPlateau):
                if value is not None:
                    schedule.step(value)
            elif schedule is not None and value is None:
                schedule.step()

    def on_train_epoch_end(self) -> None:
        """Report the epoch and move schedules that follow epochs."""
        totals = [float(self._rows), *(total.float() for total in self._sums.values())]
        rows, *sums = self._over_processes(torch.tensor(totals, device=self.device)).tolist()
        values = {f"train/{key}": total / rows for key, total in zip(self._sums, sums, strict=True)}
        if any(metric.update_called for metric in self.train_metrics.values()):
            values |= {f"train/{k}": float(v) for k, v in self.train_metrics.compute().items()}
        self.log_dict(values, sync_dist=self._distributed)
        seconds = time.perf_counter() - self._epoch_started
        optimizer = self._players[0][1].optimizer
        values["optim/lr"] = float(optimizer.param_groups[0]["lr"])
        values["perf/steps_per_second"] = (self.steps - self._steps_before) / max(seconds, 1e-9)
        values["epoch"] = self.current_epoch + 1
        self._log_metrics(values, self.steps)
        if not self.per_step:
            self._move_schedules()

    # --- evaluation -------------------------------------------------------------------------------

    def _evaluate(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        # A process whose share holds nothing to count still runs the network, as the others do.
        rows = chunk.counted or len(chunk.x)
        batch = Batch(chunk.x[:rows], chunk.y[:rows])
        if self.channels_last and batch.x.ndim == 4:
            batch.x = batch.x.contiguous(memory_format=torch.channels_last)
        batch = self.task.prepare(batch)
        loss, predictions = self.task.evaluate(self.network, batch)
        self._eval_loss[0] += float(loss) * chunk.counted
        self._eval_loss[1] += chunk.counted
        return predictions.float()[: chunk.counted], batch.y[: chunk.counted]

    def _start_evaluation(self, metrics: Any) -> None:
        """Forget earlier sums; draw the same random numbers each time and disturb no others."""
        self._eval_loss = [0.0, 0]
        metrics.reset()
        devices = [self.device] if self.device.type == "cuda" else []
        self._own_numbers = torch.random.fork_rng(devices=devices)
        self._own_numbers.__enter__()
        torch.manual_seed(_EVALUATION_SEED)
        if self._distributed:  # the running statistics of batch normalization differ by process
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_epoch_start(self) -> None:
        """Prepare to evaluate the validation part."""
        self._start_evaluation(self.val_metrics)

    def validation_step(self, chunk: Chunk, index: int) -> None:
        """Evaluate one batch."""
        predictions, targets = self._evaluate(chunk)
        if len(targets):
            self.val_metrics.update(predictions, targets)

    def on_validation_epoch_end(self) -> None:
        """Report the validation part."""
        values = self._results("val", self.val_metrics)
        self.log_dict(values, sync_dist=self._distributed)
        if self.trainer.sanity_checking:
            return
        self._log_metrics(values, self.steps)
        monitored = values.get(self.task.monitor)
        if monitored is not None and not self.per_step:
            self._move_schedules(monitored if self.task.mode == "min" else -monitored)

    def on_test_epoch_start(self) -> None:
        """Prepare to evaluate the test part."""
        self._start_evaluation(self.test_metrics)
        self.test_outputs = []

    def test_step(self, chunk: Chunk, index: int) -> None:
        """Evaluate one batch and keep its predictions for the figures."""
        predictions, targets = self._evaluate(chunk)
        if len(targets):
            self.test_metrics.update(predictions, targets)
        self.test_outputs.append((predictions.cpu(), targets.cpu()))

    def on_test_epoch_end(self) -> None:
        """Report the test part."""
        self.log_dict(self._results("test", self.test_metrics), sync_dist=self._distributed)
        if self._distributed:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self.test_outputs)
            self.test_outputs = [pair for share in shares for pair in share]

    def _results(self, stage: str, metrics: Any) -> dict[str, float]:
        self._own_numbers.__exit__(None, None, None)
        total = self._over_processes(torch.tensor(self._eval_loss, device=self.device))
        values = {f"{stage}/loss": float(total[0] / total[1])}
        return values | {f"{stage}/{k}": float(v) for k, v in metrics.compute().items()}

    @property
    def _distributed(self) -> bool:
        return self.trainer.world_size > 1

    def _over_processes(self, values: Tensor) -> Tensor:
        """Add up the values of all processes."""
        reduced: Tensor = self.trainer.strategy.reduce(values, reduce_op="sum")
        return reduced

    # --- checkpoints ------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what resuming needs besides weights and optimizers."""
        checkpoint["dlframe"] = {
            "steps": self.steps,
            "regularizers": [r.state_dict() for r in self.regularizers],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        state = checkpoint["dlframe"]
        self.steps = state["steps"]
        for regularizer, values in zip(self.regularizers, state["regularizers"], strict=True):
            regularizer.load_state_dict(values)


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``step`` requires a closure, as L-BFGS's does."""
    step = inspect.signature(type(optimizer).step)
    closure = step.parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
