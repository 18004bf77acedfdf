"""Options of the run itself: how to train and where to record. Imports no torch."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, MaxLen

from dlframe.interfaces.options import NonNegative, NonNegativeInt, PositiveInt, Seed

__all__ = [
    "INDIFFERENT",
    "SETTINGS",
    "VALUES",
    "SweepOptions",
    "TrackingOptions",
    "TrainerOptions",
    "TransferOptions",
]

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
Direction = Literal["minimize", "maximize"]
Limit = Literal[-1] | PositiveInt


@dataclass(kw_only=True)
class TrainerOptions:
    """How to train.

    Args:
        max_epochs: passes over the training part; -1 has no limit, where another one is set.
        max_steps: optimizer steps after which training ends; -1 has no limit.
        max_time: wall-clock limit as ``DD:HH:MM:SS``; null has no limit.
        accelerator: ``auto`` uses a GPU where there is one, else the CPU.
        devices: how many devices, or ``auto`` for all; more than one trains in one process each.
        strategy: ``ddp`` averages the gradients of several devices.
        precision: ``bf16-mixed`` halves memory and time where the device supports it.
        freeze: names of parts of the network that are not trained, or patterns for several
            (``features.*``); they stay in evaluation mode, so that the statistics of batch
            normalization stay as they are.
        unfreeze: after how many epochs frozen parts are trained, as in ``[features:3]``.
        unfreeze_every: after each so many epochs the last of the parts that are still frozen is
            trained, too.
        accumulate: batches whose gradients are added up before each optimizer step.
        gradient_clip: largest norm of all gradients together; null does not clip.
        deterministic: allow only deterministic algorithms; ``warn`` names those that are not.
        compile: compile the network with torch.compile (worth it from some minutes of training on).
        channels_last: store images with the channel axis last in memory (faster with bf16).
        steps_per_call: optimizer steps per call of Lightning's loop; ``auto`` grows it until a call
            takes some tens of milliseconds. The result does not depend on it.
        eval_every: validate after each so many epochs.
        limit_train: batches per training epoch at most, for debugging; null takes all.
        limit_eval: batches (of up to 1024 rows) per validation or test at most, for debugging; null
            takes all.
        overfit: train, validate and test on the first so many training batches; 0 is off.
        checkpoint: write the best and the last checkpoint.
        checkpoint_every: seconds from one writing of the last checkpoint to the next, which bound the
            work that a killed run loses.
        watch: measure the layers at the first step and once in each epoch: activations, units that
            died, gradients, and how far each step moves the weights. The result does not depend on it.
        watch_every: measure them after so many optimizer steps instead of once in each epoch.
        progress: show a progress bar; ``auto`` does so on a terminal.
        profiler: Lightning's profiler; its report is written into the run's folder.
        threads: CPU threads of torch; null leaves torch's default.
    """

    max_epochs: Limit = 10
    max_steps: Limit = -1
    max_time: str | None = None
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: PositiveInt | Literal["auto"] | list[int] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Precision = "32-true"
    freeze: list[str] = field(default_factory=list)
    unfreeze: list[str] = field(default_factory=list)
    unfreeze_every: PositiveInt | None = None
    accumulate: PositiveInt = 1
    gradient_clip: Annotated[float, Gt(0)] | None = None
    deterministic: bool | Literal["warn"] = False
    compile: bool = False
    channels_last: bool = False
    steps_per_call: PositiveInt | Literal["auto"] = "auto"
    eval_every: PositiveInt = 1
    limit_train: PositiveInt | None = None
    limit_eval: PositiveInt | None = None
    overfit: NonNegativeInt = 0
    checkpoint: bool = True
    checkpoint_every: NonNegative = 60.0
    watch: bool = False
    watch_every: PositiveInt | None = None
    progress: Literal["auto", "on", "off"] = "auto"
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    threads: PositiveInt | None = None


@dataclass(kw_only=True)
class TrackingOptions:
    """Where to record.

    Args:
        root: folder of the runs, and of the default SQLite store.
        uri: address of an MLflow server or database; null uses ``root``/mlflow.db.
        experiment: MLflow experiment that groups runs.
        run_name: name of the run; null makes one from what was chosen.
        tags: tags of the run.
        wait: seconds to wait at the end until everything is delivered to MLflow.
        offline: send nothing to MLflow before ``dlframe sync``.
        sinks: where runs are delivered to: ``mlflow``, ``tensorboard``, or a plugin's.
        alert_command: command that gets a JSON object on its standard input when something happens.
        alert_webhook: address that the object is posted to; ``$NAME`` takes it from the environment,
            so that it is not recorded.
        alert_on: what to tell; null tells all.
        alert_stalled: seconds without anything recorded after which a run counts as stalled.
        sample_every: seconds between two measurements of CPU, memory and GPU; null measures nothing.
        figures: draw learning curves and what the task shows of its test, which takes about 0.4 s.
        log_model: store the trained network as an MLflow model, ready to serve.
        enabled: record at all.
    """

    root: str = "runs"
    uri: str | None = None
    experiment: Annotated[str, MaxLen(500)] = "dlframe"  # MLflow takes no longer one
    run_name: str | None = None
    tags: dict[str, Any] | None = None
    wait: NonNegative = 60.0
    offline: bool = False
    sinks: list[str] = field(default_factory=lambda: ["mlflow"])
    alert_command: str | None = None
    alert_webhook: str | None = None
    alert_on: list[Literal["diverged", "stalled", "failed", "finished"]] | None = None
    alert_stalled: Annotated[float, Gt(0)] = 600.0
    sample_every: Annotated[float, Gt(0)] | None = 10.0
    figures: bool = True
    log_model: bool = True
    enabled: bool = True


@dataclass(kw_only=True)
class TransferOptions:
    """With which weights to begin, instead of those that the initializer draws.

    Args:
        run: id of the run that trained them, whole or in part, or its MLflow id; ``+from=<run>`` is
            the short way to say so.
        parts: names of parts of the network to load, patterns (``blocks.*``), or ``theirs:ours`` where
            a part has another name here (``encoder.layers:features``); empty loads the whole network.
        strict: ``all`` refuses weights that do not fit; ``fitting`` loads those that do, says which do
            not, and leaves these as they were initialized.
        sha256: of the run's checkpoint, which another one is then refused for; null takes any, and
            records its own.
    """

    run: str | None = None
    parts: list[str] = field(default_factory=list)
    strict: Literal["all", "fitting"] = "all"
    sha256: str | None = None


@dataclass(kw_only=True)
class SweepOptions:
    """How to search; on the command line after ``hydra.sweeper.``.

    Args:
        study_name: name of the study, which the same command continues; null makes one from what is
            fixed and what is searched.
        storage: where the study is kept: null is a file in ``tracking.root``; ``sqlite:///study.db`` is
            for one worker, ``postgresql://user@host/base`` for many machines, ``grpc://host:port`` for
            Optuna's proxy in front of a database.
        n_trials: trials in all, those of earlier commands included; null has no such limit.
        n_workers: trials at the same time.
        objective: metric to optimize, or a list of them; null takes the task's own.
        direction: ``minimize`` or ``maximize``, for each objective; null knows dlframe's own metrics.
        constraints: conditions that a good trial meets, such as ``cost/parameters <= 1e5``.
        params: more of the search space, as in ``{optimizer.lr: "tag(log,interval(1e-4,1e-1))"}``.
        auto: search the ranges that the chosen components declare.
        seed: of the sampler; null draws one.
        seeds: runs per trial, with seeds of their own, whose mean is its value.
        timeout: seconds after which no further trial begins, and those at work are stopped.
        target: value of the first objective that suffices.
        patience: trials in a row without a better value after which the study ends.
        max_failures: trials in a row that may fail before the study is given up.
        trial_timeout: seconds that one trial may take.
        trial_memory: MiB of memory that one trial may take.
        gpus_per_trial: GPUs that a trial has for itself; null is one where there are GPUs.
        threads: CPU threads of a trial; null shares the cores among the workers.
        retries: how often a trial is begun again that was killed or ran out of memory or time.
        execution: ``process`` runs each trial in a process of its own, ``inline`` in the worker's.
        enqueue: configurations to begin with, such as ``[{optimizer.lr: 0.01}]``.
        from_study: name of a study whose trials are taken over, as far as they fit.
        from_experiment: MLflow experiment whose best runs are tried first.
        from_best: how many of them.
        fresh: begin the study anew although it exists.
        dry_run: print the space and the budget, and stop.
    """

    study_name: str | None = None
    storage: str | None = None
    n_trials: PositiveInt | None = 50
    n_workers: PositiveInt = 1
    objective: str | list[str] | None = None
    direction: Direction | list[Direction] | None = None
    constraints: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    auto: bool = False
    seed: Seed | None = 0
    seeds: PositiveInt = 1
    timeout: Annotated[float, Gt(0)] | None = None
    target: float | None = None
    patience: PositiveInt | None = None
    max_failures: PositiveInt | None = 10
    trial_timeout: Annotated[float, Gt(0)] | None = None
    trial_memory: PositiveInt | None = None
    gpus_per_trial: NonNegativeInt | None = None
    threads: PositiveInt | None = None
    retries: NonNegativeInt = 1
    execution: Literal["process", "inline"] = "process"
    enqueue: list[dict[str, Any]] = field(default_factory=list)
    from_study: str | None = None
    from_experiment: str | None = None
    from_best: PositiveInt = 10
    fresh: bool = False
    dry_run: bool = False


INDIFFERENT = frozenset(
    ("checkpoint_every", "profiler", "progress", "steps_per_call", "watch", "watch_every")
)
"""Options of the trainer that leave network and metrics as they are."""

VALUES: dict[str, tuple[Any, Any]] = {
    "seed": (Seed, 0),
    "resume": (Literal["never", "auto"], "never"),
}
"""Single values of a run, with type and default: the seed of all random numbers, and whether to go on
with the latest unfinished run of the same config instead of beginning a new one."""

SETTINGS: dict[str, type] = {
    "trainer": TrainerOptions,
    "tracking": TrackingOptions,
    "transfer": TransferOptions,
}
"""Config groups that hold the run's own options; their basic choice is ``default``."""
