"""Lightning's Trainer, set up from the config, and the fit itself."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy

from dlframe.errors import ConfigError, Stopped
from dlframe.plugin import registry
from dlframe.training.build import build, needs_closure
from dlframe.training.checkpoint import WholeCheckpointIO
from dlframe.training.freezing import freezing_of
from dlframe.training.interruption import Interruption
from dlframe.training.layers import LayerWatch, layers_of
from dlframe.training.loader import TensorLoader
from dlframe.training.module import TrainingModule
from dlframe.training.precision import QuietPrecision
from dlframe.training.prepare import CHECKPOINT, Parts, is_trained, load_weights
from dlframe.training.progress import ProgressBar
from dlframe.training.saving import Saving
from dlframe.training.splits import Part
from dlframe.training.watched import Watched

__all__ = ["Fit"]

_EVALUATION_NUMBERS = 2**24
"""Input numbers per evaluation batch at most (64 MiB in float32)."""
_BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
_NOT_THE_USERS = (
    r".*`isinstance\(treespec, LeafSpec\)`.*",
    r".*Checkpoint directory .* exists and is not empty.*",  # of a resumed run it is not
)
"""Warnings that the user cannot mend."""


class Fit:
    """One training: trains, then tests the best weights.

    Args:
        parts: what to train.
        folder: where checkpoints and the profiler's report go.
        log: receives metrics and the number of optimizer steps.
        watched: decides after each validation whether training goes on; None lets it.
        callbacks: further ones.
    """

    def __init__(
        self,
        parts: Parts,
        folder: Path,
        log: Callable[[dict[str, float], int], None],
        watched: Watched | None = None,
        callbacks: Sequence[L.Callback] = (),
    ) -> None:
        self.parts, self.folder, self.watched = parts, folder, watched
        self.options: dict[str, Any] = parts.config["trainer"]
        self._interruption, self._io = Interruption(), WholeCheckpointIO()
        callbacks = [*callbacks, *(c for r in parts.regularizers for c in r.callbacks())]
        if watched is not None:
            callbacks.append(watched)
        freezing = freezing_of(self.options, parts.network, parts.task.players(parts.network))
        if freezing is not None:
            freezing.apply(0)
            callbacks.append(freezing)
        batchwise = any(_overrides_batch_hooks(callback) for callback in callbacks)
        self.trainer = self._trainer(callbacks)
        listening = batchwise or self.options["profiler"]
        if type(self.trainer.precision_plugin) is Precision and not listening:
            self.trainer.strategy.precision_plugin = QuietPrecision()
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            self.trainer.strategy.checkpoint_io = self._io
        self.loaders = self._loaders()
        self.module = self._module(log, batchwise)
        self._check_optimizer()
        if self._shows_progress():
            train = self.loaders["train"]
            totals = [self.options["max_epochs"] * train.batches, train.most or -1]
            total = min((total for total in totals if total > 0), default=None)
            bar = ProgressBar(total, parts.task.monitor)
            # Before the checkpoint, which Lightning wants last.
            self.trainer.callbacks.insert(0, bar)  # type: ignore[attr-defined]

    def fit(self, resume: Path | None = None) -> None:
        """Train; a network without anything to train is validated and kept as it is.

        Args:
            resume: a checkpoint to go on from, written by this training before it was interrupted.

        Raises:
            CheckpointError: the checkpoint is damaged.
            TrainingDivergedError: the loss became NaN or infinite.
            KeyboardInterrupt: the user stopped it.
        """
        with self._running():
            trains = is_trained(self.parts.network)
            if trains:
                self.trainer.fit(
                    self.module,
                    train_dataloaders=self.loaders["train"],
                    val_dataloaders=self.loaders["val"],
                    ckpt_path=resume,
                    weights_only=True,
                )
            self._io.wait()
            best = self.folder / CHECKPOINT
            missing = self.options["checkpoint"] and not best.is_file()
            if missing or not trains:
                # Without training, or it ended before the first validation: by time or eval_every.
                self.trainer.validate(self.module, self.loaders["val"], verbose=False)
            if missing:
                self.trainer.save_checkpoint(best)
                self._io.wait()

    def test(self) -> dict[str, float]:
        """Evaluate the best weights (the last, without checkpoints) on the test part."""
        best = self.folder / CHECKPOINT
        if self.options["checkpoint"] and best.is_file():
            load_weights(best, self.module.network)
        with self._running():
            self.trainer.test(self.module, dataloaders=self.loaders["test"], verbose=False)
        return {
            key: float(value)
            for key, value in self.trainer.callback_metrics.items()
            if key.startswith("test/")
        }

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Stop in order on Ctrl-C; hide warnings that the user cannot mend."""
        try:
            with self._interruption, warnings.catch_warnings():
                for message in _NOT_THE_USERS:
                    warnings.filterwarnings("ignore", message=message)
                yield
        except SystemExit as error:  # Lightning exits
            if self.trainer.interrupted:
                raise Stopped(self._interruption.number) from error
            raise

    # --- set-up -----------------------------------------------------------------------------------

    def _trainer(self, callbacks: list[L.Callback]) -> L.Trainer:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        options, task = self.options, self.parts.task
        if options["checkpoint"]:
            callbacks = [*callbacks, self._saving()]
        players = task.players(self.parts.network)
        strategy: Any = options["strategy"]
        if strategy == "ddp" and (len(players) > 1 or options["freeze"]):
            strategy = DDPStrategy(find_unused_parameters=True)
        profiler: Any = None
        if options["profiler"]:
            profiler = _profiler(options["profiler"], self.folder)
        try:
            return L.Trainer(
                accelerator=options["accelerator"],
                devices=options["devices"],
                strategy=strategy,
                precision=options["precision"],
                max_epochs=options["max_epochs"],
                max_steps=_moves(options["max_steps"], [task.every(name) for name in players]),
                max_time=options["max_time"],
                deterministic=options["deterministic"],
                check_val_every_n_epoch=options["eval_every"],
                callbacks=callbacks,
                default_root_dir=self.folder,
                profiler=profiler,
                logger=False,
                enable_checkpointing=options["checkpoint"],
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
            )
        # Lightning has no common class for what it finds wrong with its options and with the machine.
        except (
            L.fabric.utilities.exceptions.MisconfigurationException,
            ImportError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ConfigError(
                f"the trainer cannot be set up: {' '.join(str(error).split()).rstrip('.!')}; `dlframe "
                "show trainer` explains its options, `dlframe doctor` lists the devices"
            ) from error

    def _saving(self) -> Saving:
        every = self.options["checkpoint_every"]
        return Saving(self.folder / CHECKPOINT.parent, self.parts.task, every, self._interruption)

    def _check_optimizer(self) -> None:
        """Build optimizer and schedule once to no purpose but to find out what they refuse."""
        options, config = self.options, self.parts.config
        if options["max_epochs"] == options["max_steps"] == -1 and options["max_time"] is None:
            raise ConfigError(
                "training needs an end; set trainer.max_epochs, trainer.max_steps or trainer.max_time"
            )
        if options["precision"] == "16-mixed" and self.trainer.strategy.root_device.type == "cpu":
            raise ConfigError(
                "trainer.precision=16-mixed needs a GPU; set trainer.precision=bf16-mixed"
            )
        if not is_trained(self.parts.network):
            return
        for part in self.parts.task.players(self.parts.network).values():
            optimizer = _optimizer(config, list(part.parameters()))
            name = config["optimizer"]["component"]
            if needs_closure(optimizer) and self.trainer.world_size > 1:
                raise ConfigError(
                    f"{name} searches along its own losses, which differ by process; set "
                    "trainer.devices=1, or choose another optimizer"
                )
            scaled = options["precision"] == "16-mixed" and self.module.changes_gradients
            if scaled and getattr(optimizer, "_step_supports_amp_scaling", False):
                raise ConfigError(
                    f"with trainer.precision=16-mixed, {name} takes gradients that are still "
                    "scaled, so they cannot be clipped; set trainer.precision=bf16-mixed"
                )
            if options["accumulate"] > 1 and needs_closure(optimizer):
                raise ConfigError(
                    f"trainer.accumulate must be 1 with {name}, which "
                    f"evaluates each batch several times; got {options['accumulate']}; raise "
                    "data.batch_size instead"
                )
            ends = max(options["max_epochs"], options["max_steps"]) > 0
            if self.module.per_step and not ends:
                raise ConfigError(
                    f"{config['scheduler']['component']} needs to know where training ends; set "
                    "trainer.max_epochs or trainer.max_steps, or choose scheduler=plateau"
                )
            per_epoch = self.loaders["train"].batches
            _scheduler(config, optimizer, per_epoch * max(1, options["max_epochs"]), per_epoch)

    def _module(
        self, log: Callable[[dict[str, float], int], None], batchwise: bool
    ) -> TrainingModule:
        config, options = self.parts.config, self.options
        scheduler = registry().find("scheduler", config["scheduler"]["component"]).component
        steps = options["steps_per_call"]
        network, layers = self.parts.network, self._watch()
        if options["channels_last"]:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if options["compile"]:
            network.compile()
        return TrainingModule(
            network=network,
            loader=self.loaders["train"],
            task=self.parts.task,
            regularizers=self.parts.regularizers,
            optimizer=partial(_optimizer, config),
            scheduler=partial(_scheduler, config),
            per_step="per_step" in scheduler.tags,
            accumulate=options["accumulate"],
            max_steps=options["max_steps"],
            steps_per_call=1 if batchwise else None if steps == "auto" else steps,
            channels_last=options["channels_last"],
            log=log,
            layers=layers,
            interruption=self._interruption,
        )

    def _watch(self) -> LayerWatch | None:
        """Return what measures the layers, in the process that records."""
        options, loader = self.options, self.loaders["train"]
        if not options["watch"]:
            return None
        if options["compile"]:
            raise ConfigError(
                "trainer.watch looks into layers that trainer.compile melts together; set one of "
                "them to false"
            )
        if not self.trainer.is_global_zero:
            return None
        with torch.random.fork_rng(devices=[]):  # the training's numbers are not those of a probe
            activation = type(build("activation", self.parts.config["activation"]))
        network, accumulate = self.parts.network, options["accumulate"]
        per_epoch = -(-loader.batches // accumulate)
        whole = loader.rows // (loader.batch_size * accumulate)
        return LayerWatch(
            layers_of(network, self.parts.task.players(network), activation),
            per_epoch=per_epoch,
            whole=max(1, min(whole, per_epoch)),
            every=options["watch_every"],
        )

    def _loaders(self) -> dict[str, TensorLoader]:
        splits, options = self.parts.splits, self.options
        size = self.parts.config["data"]["batch_size"]
        train = splits.train
        size = len(train.x) if size == "all" else size
        overfit = options["overfit"]
        if overfit:
            kept = overfit * size
            train = Part(train.x[:kept], train.y[:kept], train.rows[:kept])
        share: dict[str, Any] = {
            "rank": self.trainer.global_rank,
            "world_size": self.trainer.world_size,
        }
        limit, seed = options["limit_train"], self.parts.config["seed"]
        balanced = self._is_balanced()
        options_of_order = {"shuffle": not overfit, "seed": seed, "balanced": balanced}
        loader = self._loader(train, size, limit, **options_of_order, **share)
        if options["max_steps"] > 0:
            steps = -(-loader.batches // options["accumulate"])
            epochs, rest = divmod(options["max_steps"], steps)
            loader.most = epochs * loader.batches + rest * options["accumulate"]
        loaders = {"train": loader}
        for name, part in (("val", splits.val), ("test", splits.test)):
            part = train if overfit else part
            rows = max(1, min(1024, _EVALUATION_NUMBERS // max(1, part.x[0].numel())))
            loaders[name] = self._loader(part, rows, options["limit_eval"], **share)
        return loaders

    def _is_balanced(self) -> bool:
        """Whether as many examples of each class are drawn; refuses that where there are no classes."""
        if self.parts.config["data"]["sampler"] != "balanced":
            return False
        y = self.parts.splits.train.y
        if not self.parts.splits.spec.class_names or y.ndim != 1 or y.is_floating_point():
            raise ConfigError(
                "data.sampler=balanced needs one class for each example; the task is "
                f"{self.parts.splits.spec.task}: leave it out"
            )
        return True

    def _loader(self, part: Part, size: int, limit: int | None, **options: Any) -> TensorLoader:
        device = self.trainer.strategy.root_device
        x, y = part.x, part.y
        wish = self.parts.config["data"]["on_device"]
        if device.type != "cpu" and (wish == "always" or (wish == "auto" and _fits(part, device))):
            x, y = x.to(device), y.to(device)
        return TensorLoader(x, y, batch_size=min(size, len(x)), limit=limit, **options)

    def _shows_progress(self) -> bool:
        wish = self.options["progress"]
        first = self.trainer.is_global_zero
        return first and (wish == "on" or (wish == "auto" and sys.stderr.isatty()))


def _fits(part: Part, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    needed = part.x.numel() * part.x.element_size() + part.y.numel() * part.y.element_size()
    return needed <= free / 4


def _overrides_batch_hooks(callback: L.Callback) -> bool:
    return any(
        getattr(type(callback), hook) is not getattr(L.Callback, hook) for hook in _BATCH_HOOKS
    )


def _optimizer(
    config: dict[str, Any], parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = build("optimizer", config["optimizer"], params=parameters)
    return made


def _scheduler(
    config: dict[str, Any], optimizer: torch.optim.Optimizer, total: int, per_epoch: int
) -> Any:
    return build(
        "scheduler",
        config["scheduler"],
        optimizer=optimizer,
        total_steps=total,
        steps_per_epoch=per_epoch,
    )


def _profiler(name: str, folder: Path) -> Any:
    from lightning.pytorch import profilers

    makers = {
        "simple": profilers.SimpleProfiler,
        "advanced": profilers.AdvancedProfiler,
        "pytorch": profilers.PyTorchProfiler,
    }
    return makers[name](dirpath=folder, filename="profile")


def _moves(steps: int, every: Sequence[int]) -> int:
    """Return how many moves of all players there are in so many steps; -1 has no limit.

    It is what Lightning counts in manual optimization: the steps of every optimizer.
    """
    return sum(-(-steps // each) for each in every) if steps > 0 else steps
