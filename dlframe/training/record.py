"""What is recorded of a run: at its start, at its end, and where it is broken off."""

import errno
import hashlib
import json
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
import torch

from dlframe.config.differences import differences
from dlframe.config.validate import chosen, effective
from dlframe.errors import TrainingDivergedError
from dlframe.interfaces import Batch
from dlframe.tracking import note
from dlframe.tracking.earlier import Earlier
from dlframe.tracking.provenance import command_line, environment, provenance_tags
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.redaction import redacted_values
from dlframe.tracking.where import root_option
from dlframe.tracking.whole import write_whole
from dlframe.training import diagnosis, figures
from dlframe.training.case import Case, Finding
from dlframe.training.checkpoint import LAST
from dlframe.training.data_facts import data_line, record_data
from dlframe.training.layer_figures import layer_figures
from dlframe.training.module import TrainingModule
from dlframe.training.predictor import Predictor
from dlframe.training.prepare import CHECKPOINT, Parts
from dlframe.training.summary import count_parameters, summarize
from dlframe.training.surroundings import record_attempt, record_code, write_environment

__all__ = ["PRUNED", "Context", "RunRecord"]

PRUNED = "dlframe.pruned"
"""The tag of a run that was stopped early, as one that was not worth its end."""

_CONFIG = (
    "config.yaml", "overrides.json", "differences.json", "spec.json", "preprocessing", "schema.json",
    "splits.json", "splits.npz", "environment.json", "network.txt",
)  # fmt: skip
_TRANSFER = "transfer.json"
_EXPERIMENT_NOTE = (
    "Runs of `dlframe train`. Each run's note says what it reached, what it changed, and how to train "
    "it again. `best/*`, `final/*` and `cost/*` are single values for comparison; `train/*`, `val/*` "
    "and `optim/*` are curves over optimizer steps."
)


class Context(TypedDict):
    """How a training came about.

    Args:
        overrides: what the user changed.
        command: the command line.
        parent: id of the multirun that it is a part of, which may be another one when it goes on.
        waits: whether to wait at the end until all is delivered.
        again: whether it goes on with a run that was interrupted.
        replay_of: folder of the run that it is to repeat.
        tags: of the run, beside those of its config.
        attached: files that it is to keep with its config.
        watch: address at which another process hears of each validation; None where that is nobody,
            or this process.
    """

    overrides: list[str]
    command: list[str]
    parent: str | None
    waits: bool
    again: bool
    replay_of: str | None
    tags: dict[str, str]
    attached: NotRequired[list[str]]
    watch: str | None


class RunRecord:
    """Records one run around its training.

    Args:
        recorder: of the run.
        parts: what is trained.
        folder: the run's folder.
        context: how it came about.
        before: what is recorded of it already.

    Attributes:
        findings: what ailed the training, once it has ended.
    """

    def __init__(
        self, recorder: Recorder, parts: Parts, folder: Path, context: Context, before: Earlier
    ) -> None:
        self.recorder, self.parts, self.folder, self.context = recorder, parts, folder, context
        self._before = before
        self._behind: _Behind | None = None
        self.findings: list[Finding] = []

    def describe(self) -> None:
        """Record what decides the result: config, data, code, versions and machine."""
        recorder, config = self.recorder, redacted_values(self.parts.config)
        params: dict[str, Any] = redacted_values(effective(self.parts.config))
        size, trained = count_parameters(self.parts.network)
        recorder.params(params)
        tags: dict[str, Any] = dict(provenance_tags(self.context["command"]))
        tags |= self._tags(params, size, trained) | (config["tracking"]["tags"] or {})
        tags |= self.context["tags"]
        changed = [redacted_values([f"{k}={v}", d]) for k, v, d in differences(self.parts.config)]
        facts = self._facts([(*text.split("=", 1), default) for text, default in changed])
        self._write("overrides.json", redacted_values(self.context["overrides"]))
        self._write("differences.json", facts.differences)
        write_environment(self.folder)
        facts.write(self.folder)
        recorder.tags({**tags, note.TAG: note.render(facts)})
        recorder.experiment(self._experiment_tags())
        x, y = self.parts.splits.train.x, self.parts.splits.train.y
        table = summarize(self.parts.network, self.parts.task, Batch(x, y))
        write_whole(self.folder / "network.txt", table)
        if self.parts.origin is not None:
            write_whole(self.folder / _TRANSFER, self.parts.origin.to_json())
            recorder.artifact(self.folder / _TRANSFER, "config")
        for path in self.context.get("attached", ()):
            own = Path(shutil.copy(path, self.folder))
            recorder.artifact(own, "config")
        record_data(recorder, self.parts, self.folder)
        for name in _CONFIG:
            recorder.artifact(self.folder / name, "config")
        # Takes too long to wait for.
        self._behind = _Behind(lambda: record_code(recorder, self.folder, self._plugins()))

    def attach(self, attempt: int) -> None:
        """Have this process measured; a run that is gone on with has several, one after another.

        Args:
            attempt: number of this one; the first is 1.
        """
        if attempt > 1:
            self.recorder.tags({**self.context["tags"], "dlframe.attempts": attempt})
            if self._behind is None:  # else those before did not come as far as to describe it
                record_attempt(self.recorder, attempt, self._plugins(), self.context["command"])
        every = self.parts.config["tracking"]["sample_every"]
        if every is not None:
            gpus = [device["uuid"] for device in environment().get("devices", ())]
            self.recorder.process(every, gpus)

    def _plugins(self) -> set[str]:
        return {entry.plugin for _, entry in chosen(self.parts.config)}

    def _write(self, name: str, content: Any) -> None:
        write_whole(self.folder / name, json.dumps(content, indent=1))

    def _tags(self, params: Mapping[str, Any], size: int, trained: int) -> dict[str, Any]:
        task, config = self.parts.task, self.parts.config
        replayed = self.context["replay_of"]
        own = {key: value for key, value in params.items() if key != "seed"}
        digest = hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()
        return {
            "dlframe.plugins": " ".join(sorted(self._plugins())),
            "dlframe.seed": config["seed"],
            "dlframe.group": f"{params['architecture']}-{params['data']}-{digest[:8]}",
            "dlframe.parameters": size,
            "dlframe.parameters_trained": trained,
            "dlframe.data_fingerprint": self.parts.splits.summary["fingerprint"],
            "dlframe.primary_metric": task.monitor,
            "dlframe.primary_mode": task.mode,
            **(self.parts.origin.tags() if self.parts.origin else {}),
            **self._fold_tag(),
            **({"dlframe.replay_of": Path(replayed).name} if replayed else {}),
        }

    def _fold_tag(self) -> dict[str, str]:
        """Say which part the fold is, on which depends what can be said of several."""
        summary = self.parts.splits.summary
        if summary["fold"] is None:
            return {}
        fixed = "validation" if summary["fixed_test"] else "test"
        return {"dlframe.fold": "time" if summary["in_time"] else fixed}

    def _experiment_tags(self) -> dict[str, Any]:
        task = self.parts.task
        primary = "mlflow.experiment.primaryMetric"
        return {
            "mlflow.experimentKind": "custom_model_development",
            f"{primary}.name": f"best/{task.monitor.replace('/', '_')}",
            f"{primary}.greaterIsBetter": str(task.mode == "max"),
            note.TAG: _EXPERIMENT_NOTE,
        }

    def _facts(self, changed: list[tuple[str, ...]]) -> note.Facts:
        size, trained = count_parameters(self.parts.network)
        place = root_option(self.folder.parent)
        uid, name = self.folder.name, self.parts.config["architecture"]["component"]
        return note.Facts(
            uid=uid,
            data=data_line(self.parts),
            model=f"{name}: {size:,} parameters, {trained:,} trained; layers in config/network.txt",
            differences=tuple((option, value, default) for option, value, default in changed),
            command=command_line(self.context["command"]),
            monitor=self.parts.task.monitor,
            replay=f"dlframe replay {uid}{place}",
            resume=f"dlframe resume {uid}{place}",
        )

    # --- the end ----------------------------------------------------------------------------------

    def finish(
        self, module: TrainingModule, metrics: Mapping[str, float], seconds: float, *, pruned: bool
    ) -> dict[str, float]:
        """Record the result: summaries, figures, weights and the model.

        Args:
            module: after the test.
            metrics: the last value of each metric, ``best/*`` and ``test/*`` among them.
            seconds: wall-clock time of the training.
            pruned: whether it was stopped early, as one whose weights nobody wants.

        Returns:
            What is recorded beside the metrics: ``cost/*`` and ``final/*``.
        """
        if self._behind is not None:
            self._behind.join()
        tested = {key: value for key, value in metrics.items() if key.startswith("test/")}
        best = {key: value for key, value in metrics.items() if key.startswith("best/")}
        step = int(best.get("best/step", module.steps))
        self._metrics(tested, step)
        last = {k: v for k, v in metrics.items() if k.startswith(("train/", "val/", "test/"))}
        final = {f"final/{key.replace('/', '_')}": value for key, value in last.items()}
        summaries = final | self._costs(module, seconds)
        self._metrics(best | summaries, 0)
        self._draw(module)
        self._record_layers(module)
        if not pruned:
            self._diagnose(module)
        if pruned:
            said = f"stopped after epoch {module.history[-1]['epoch']} by the pruner of its study"
            self.recorder.tags({"optuna.state": "PRUNED", PRUNED: said})
        else:
            self._record_weights(module, step, tested)
        return summaries

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values that an attempt before may have recorded, in the moments before its death."""
        if new := self._before.changed(values, step):
            self.recorder.metrics(new, step)

    def stop(self, module: TrainingModule, reason: BaseException) -> None:
        """Record what there is of a run that failed or was stopped; never raises."""
        if not self.folder.is_dir():  # it could not even be made
            return
        try:
            if self._behind is not None:
                self._behind.join()
            self._draw(module)
            self._record_layers(module)
            if isinstance(reason, TrainingDivergedError):
                self._diagnose(module, str(reason))
            last = self.folder / CHECKPOINT.parent / LAST
            if last.is_file():
                self.recorder.checkpoint("last", last, step=module.steps)
        except Exception as error:  # what ended the run is what the user must hear
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                return  # and that was it
            print(f"dlframe: not all of the run could be recorded: {error}", file=sys.stderr)

    def _costs(self, module: TrainingModule, seconds: float) -> dict[str, float]:
        size, _ = count_parameters(self.parts.network)
        costs = {
            "seconds": seconds,
            "steps": module.steps,
            "parameters": size,
            "peak_memory_mib": _peak_memory() / 2**20,
        }
        if module.history:
            costs["epochs"] = module.history[-1]["epoch"]
        if module.device.type == "cuda":
            costs["gpu_hours"] = seconds * module.trainer.world_size / 3600
            costs["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated(module.device) / 2**20
        return {f"cost/{name}": float(value) for name, value in costs.items()}

    def _draw(self, module: TrainingModule) -> None:
        if not self.parts.config["tracking"]["figures"]:
            return
        task = self.parts.task
        try:
            drawn = {}
            if curves := figures.learning_curves(module.history, task):
                drawn["learning_curves"] = curves
            if module.layers is not None:
                drawn |= layer_figures(module.layers.rows())
            if module.test_outputs:
                predictions = torch.cat([p for p, _ in module.test_outputs])
                drawn |= task.figures(predictions, torch.cat([t for _, t in module.test_outputs]))
            for path in figures.save(drawn, self.folder / "figures"):
                self.recorder.artifact(path, "figures")
        except OSError:
            raise  # a full disk concerns the whole run
        except Exception as error:  # a picture is not worth a trained network
            self.recorder.tags({"dlframe.figures": f"not drawn: {type(error).__name__}: {error}"})
            print(f"dlframe: the figures could not be drawn: {error}", file=sys.stderr)

    def _record_layers(self, module: TrainingModule) -> None:
        if module.layers is not None and (rows := module.layers.rows()):
            path = self.folder / "layers.csv"
            write_whole(path, pd.DataFrame(rows).to_csv(index=False))
            self.recorder.artifact(path)

    def _diagnose(self, module: TrainingModule, error: str | None = None) -> None:
        parts, spec = self.parts, self.parts.splits.spec
        case = Case(
            config=parts.config,
            history=module.history,
            rows=module.layers.rows() if module.layers is not None else (),
            class_counts=spec.class_counts,
            scaled=bool(spec.target_scale),
            players=len(parts.task.players(parts.network)),
            error=error,
        )
        self.findings = diagnosis.diagnose(case)
        if self.findings:
            self.recorder.artifact(diagnosis.write(self.findings, self.folder))
            self.recorder.tags({diagnosis.TAG: diagnosis.tag(self.findings)})

    def _record_weights(
        self, module: TrainingModule, step: int, tested: Mapping[str, float]
    ) -> None:
        best = self.folder / CHECKPOINT
        if not best.is_file():
            return
        seen = {key: None for each in module.history for key in each if key.startswith("val/")}
        measured = [*seen, *tested]
        last = best.with_name(LAST)
        if last.is_file():
            self.recorder.checkpoint("last", last, step=module.steps, metrics=list(seen))
        if self.parts.config["tracking"][
            "log_model"
        ]:  # the model holds the one copy of its weights
            _write_example(self.parts, self.folder)
            self.recorder.model(self.folder, step=step, metrics=measured)
        else:
            self.recorder.checkpoint("best", best, step=step, metrics=measured)


class _Behind:
    """Something done in a thread while training goes on; its error is raised when it is joined."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dlframe-record", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def _peak_memory() -> int:
    """Return the most resident memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _write_example(parts: Parts, folder: Path) -> None:
    """Write a few rows and their predictions, which give the MLflow model its signature."""
    place = folder / "model"
    place.mkdir(exist_ok=True)
    model = Predictor.from_folder(folder)
    rows = model.noise(5) if parts.task.from_noise else parts.splits.example
    if isinstance(rows, pd.DataFrame):
        # Those that are used, whole numbers as floating ones: prediction fills gaps, and MLflow
        # lets no whole number be missing.
        used = parts.splits.preprocessor.columns() or rows.columns
        rows = rows[list(used)]
        rows = rows.astype(dict.fromkeys(rows.select_dtypes("integer").columns, float))
    if isinstance(rows, np.ndarray):
        np.save(place / "input_example.npy", rows)
    else:
        rows.to_json(place / "input_example.json", orient="split")
    model.predict_frame(rows).to_json(place / "output_example.json", orient="split")
