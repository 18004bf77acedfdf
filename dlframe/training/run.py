"""A run: from a composed config to a recorded result, whatever happens on the way."""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dlframe.config.validate import validate
from dlframe.errors import (
    CheckpointError,
    DlframeError,
    RunTakenError,
    Stopped,
    StorageError,
)
from dlframe.tracking.alert import alert_options
from dlframe.tracking.backlog import Backlog
from dlframe.tracking.console import CONSOLE, Console, captured
from dlframe.tracking.earlier import Earlier, earlier
from dlframe.tracking.recorder import Recorder, new_uid
from dlframe.tracking.redaction import redacted, without_credentials
from dlframe.tracking.spool import FILE, Spool
from dlframe.training.channel import Channel, Report, heard
from dlframe.training.ending import advice, is_stop, report, signal_of, translated
from dlframe.training.fit import Fit
from dlframe.training.outcome import Run, best_of, finished
from dlframe.training.prepare import prepare, read_config, save
from dlframe.training.processes import read_order, report_result, run_apart
from dlframe.training.record import Context, RunRecord
from dlframe.training.resume import (
    check_data,
    last_checkpoint,
    recorded_threads,
    unfinished_like,
)
from dlframe.training.transfer import begin_with, pin
from dlframe.training.watched import Watched

__all__ = ["execute", "execute_rank", "execute_trial", "resume"]


def execute(
    config: Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    command: Sequence[str] = (),
    parent: str | None = None,
    replay_of: Path | None = None,
    attached: Sequence[Path] = (),
    wait: bool = True,
) -> Run:
    """Train, test and record one run.

    Args:
        config: a composed config.
        overrides: what the user changed, for the record.
        command: the command line, for the record.
        parent: id of the multirun that it is a part of.
        replay_of: folder of the run that it is to repeat, on the same data.
        attached: files that it is to keep with its config.
        wait: whether to wait at the end until all is delivered; False leaves that to the multirun.

    Raises:
        DlframeError: the config, the data or the disk do not allow it, or the loss diverged.
        KeyboardInterrupt: the user stopped it; the run is recorded as KILLED.
    """
    checked = validate(config)
    pin(checked, replay_of)
    for folder in unfinished_like(checked) if checked["resume"] == "auto" else ():
        try:
            return resume(folder, command=command, parent=parent, wait=wait)
        except RunTakenError:  # by another process that was told the same
            continue
    context = Context(
        overrides=list(overrides),
        command=list(command),
        parent=parent,
        waits=wait,
        again=False,
        replay_of=str(replay_of) if replay_of else None,
        tags={},
        attached=[str(path) for path in attached],
        watch=None,
    )
    return _execute(checked, new_uid(), context)


def execute_trial(
    config: Mapping[str, Any],
    uid: str,
    *,
    overrides: Sequence[str] = (),
    command: Sequence[str] = (),
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    report: Report,
) -> Run:
    """Train, test and record one trial of a study; go on with what an earlier attempt left of it.

    Args:
        config: a composed config.
        uid: the run's id; where that has been recorded, its training goes on, or is not repeated.
        overrides: what the user changed, for the record.
        command: the command line, for the record.
        parent: id of the study's run.
        tags: of the run, beside those of its config.
        report: takes the number of an epoch and its validation metrics; says whether to stop.

    Raises:
        DlframeError: as for ``execute``.
        KeyboardInterrupt: it was asked to stop; the run is recorded as KILLED.
    """
    checked = validate(config)
    pin(checked)
    folder = Path(checked["tracking"]["root"]).absolute() / uid
    again = (folder / FILE).is_file()
    if again and checked["trainer"]["threads"] is None:
        checked["trainer"]["threads"] = recorded_threads(folder)
    context = Context(
        overrides=list(overrides),
        command=list(command),
        parent=parent,
        waits=False,
        again=again,
        replay_of=None,
        tags=dict(tags or {}),
        watch=None,
    )
    if again and earlier(folder).status == "FINISHED":
        return finished(folder)
    try:
        return _execute(checked, uid, context, report)
    except RunTakenError:  # its last records were not in the spool yet
        if again and earlier(folder).status == "FINISHED":
            return finished(folder)
        raise


def resume(
    folder: Path, *, command: Sequence[str] = (), parent: str | None = None, wait: bool = True
) -> Run:
    """Go on with a run that was interrupted, from its last whole checkpoint, under the same id.

    Args:
        folder: the run's folder.
        command: the command line, for the record.
        parent: id of the multirun that it is a part of from now on; None leaves that as it is.
        wait: see ``execute``.

    Raises:
        CheckpointError: the run has reached its end already.
        DlframeError: as for ``execute``.
    """
    before, config = earlier(folder), read_config(folder)
    if before.status == "FINISHED":
        raise CheckpointError(
            f"run {folder.name!r} is finished, there is nothing to go on with; train another with "
            f"`dlframe train`, or it again with `dlframe replay {folder.name}`"
        )
    config["tracking"]["root"] = str(folder.parent)
    if config["trainer"]["threads"] is None:
        config["trainer"]["threads"] = recorded_threads(folder)
    context = Context(
        overrides=[],
        command=list(command),
        parent=parent,
        waits=wait,
        again=True,
        replay_of=None,
        tags={},
        watch=None,
    )
    return _execute(config, folder.name, context)


def _execute(
    config: dict[str, Any], uid: str, context: Context, report: Report | None = None
) -> Run:
    try:
        if config["trainer"]["devices"] == 1:
            return _execute_here(config, uid, context, report)
        with heard(report) as address:
            context["watch"] = address
            return _execute_apart(config, uid, context)
    finally:
        gc.collect()  # Lightning's objects hold each other, and with them the device's memory


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads for the time being."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _execute_here(
    config: dict[str, Any],
    uid: str,
    context: Context,
    report: Report | None = None,
    *,
    first: bool = True,
) -> Run:
    watched = Watched(report) if report is not None or context["watch"] is not None else None
    with _threads(config["trainer"]["threads"]), captured(Console()) as console:
        return _record(config, uid, context, console, watched, first=first)


def _record(
    config: dict[str, Any],
    uid: str,
    context: Context,
    console: Console,
    watched: Watched | None,
    *,
    first: bool,
) -> Run:
    """Train and record; ``first`` says whether this process is the one that writes."""
    tracking = config["tracking"]
    run = Run(uid, Path(tracking["root"]).absolute() / uid)

    def log(values: dict[str, float], step: int) -> None:
        recorder.metrics(before.missing(values, step), step)

    # Whatever the user got wrong shows here, before anything is written.
    fit = Fit(prepare(config), run.folder, log, watched)
    checkpoint = last_checkpoint(run.folder) if context["again"] else None
    if context["again"] and checkpoint is None and not (run.folder / FILE).is_file():
        raise CheckpointError(
            f"{str(run.folder)!r} holds no checkpoint to go on from; resume the run on the machine "
            "that trained it, with --root and the folder of its runs"
        )
    if context["again"] or context["replay_of"]:
        check_data(Path(context["replay_of"] or run.folder), fit.parts)
    if checkpoint is None:
        begin_with(fit.parts, context["replay_of"])
    recorder = Recorder(
        Path(tracking["root"]),
        uri=tracking["uri"],
        experiment=tracking["experiment"],
        run_name=tracking["run_name"] or _name(fit.parts.config),
        uid=uid,
        parent=context["parent"],
        enabled=tracking["enabled"] and first,
        offline=tracking["offline"],
        sinks=tracking["sinks"],
        alert=alert_options(tracking),
    )
    before = earlier(run.folder)  # after the recorder has taken in what a killed process left
    if watched is not None:
        watched.remember(run.folder)
    if context["again"] and before.previous == "FINISHED":
        recorder.finish("FINISHED")
        raise RunTakenError(f"run {uid!r} was finished by another process in the meantime")
    record = RunRecord(recorder, fit.parts, run.folder, context, before) if first else None
    try:
        _make_folder(run.folder)
        if record is not None:
            console.keep(run.folder / CONSOLE)
            if fit.parts.origin is not None:
                fit.parts.origin.tell()
        _train(run, fit, record, checkpoint, before)
    except BaseException as error:
        run.status = "KILLED" if is_stop(error) else "FAILED"
        if record is not None:
            record.stop(fit.module, error)
        console.close("stopped" if is_stop(error) else report(error))
        recorder.finish(run.status, None if is_stop(error) else redacted(report(error)))
        if is_stop(error):  # what is recorded is delivered without anybody waiting
            raise Stopped(signal_of(error), advice(run.folder)) from None
        _deliver(run, recorder, tracking["wait"], context)
        said = translated(error, recorder.folder)
        if said is error:
            raise
        raise said from error
    console.close()
    recorder.finish("FINISHED")
    _deliver(run, recorder, tracking["wait"], context)
    return run


def _train(
    run: Run, fit: Fit, record: RunRecord | None, checkpoint: Path | None, before: Earlier
) -> None:
    parts = fit.parts
    if record is not None and not before.described:
        save(run.folder, parts)
        record.describe()
    if record is not None:
        record.attach(before.attempts)
    fit.fit(checkpoint)
    run.pruned = fit.watched is not None and fit.watched.pruned
    tested = {} if run.pruned else fit.test()
    run.epochs = fit.module.history
    for values in run.epochs:
        run.metrics |= {key: value for key, value in values.items() if key != "step"}
    run.metrics |= best_of(run.epochs, parts.task) | tested
    run.seconds = fit.module.seconds
    if record is not None:
        run.summaries = record.finish(fit.module, run.metrics, run.seconds, pruned=run.pruned)
        run.findings = record.findings


def _name(config: dict[str, Any]) -> str:
    words = [config[kind]["component"].rpartition("/")[2] for kind in ("architecture", "data")]
    words += [config[kind]["component"].rpartition("/")[2] for kind in ("activation", "optimizer")]
    return "-".join([*words, f"s{config['seed']}"])


def _is_first_rank() -> bool:
    """Whether this process is the first of those that train together."""
    names = ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the run's folder {str(folder)!r} cannot be made ({error.strerror}); choose another place "
            "with tracking.root"
        ) from error


def _deliver(run: Run, recorder: Recorder, seconds: float, context: Context) -> None:
    with Backlog() as backlog:
        state = recorder.wait(
            seconds if context["waits"] else 0.0, lambda d: backlog.show(d.backlog, d.error)
        )
    if recorder.enabled:
        run.tracking_uri = without_credentials(state.tracking_uri)
    run.mlflow_run_id = state.mlflow_run_id
    # That a part is still on its way goes without saying where nobody waits for it.
    run.note = state.note if context["waits"] or state.offline else state.error


# --- several processes ----------------------------------------------------------------------------


def _execute_apart(config: dict[str, Any], uid: str, context: Context) -> Run:
    """Train in processes of their own."""
    folder = Path(config["tracking"]["root"]).absolute() / uid
    try:
        result = run_apart({"config": config, "context": context, "uid": uid})
    except DlframeError as error:
        _record_failure(config, folder, str(error))
        raise
    return Run(uid, folder, **result)


def _record_failure(config: dict[str, Any], folder: Path, said: str) -> None:
    """Record why a run failed whose recording process was killed, or knew only what followed."""
    if not (folder / FILE).is_file():
        return
    with closing(Spool(folder)) as spool:
        ends = spool.of_kinds("finish")
    if any(said in str(end.body["error"]) for end in ends):
        return
    tracking = config["tracking"]
    recorder = Recorder(
        folder.parent,
        uri=tracking["uri"],
        experiment=tracking["experiment"],
        run_name=tracking["run_name"],
        uid=folder.name,
    )
    recorder.finish("FAILED", said)
    recorder.wait(tracking["wait"])


def execute_rank(place: Path) -> None:
    """Train as one of several processes; called by each of them.

    Args:
        place: where the order is, and the result goes.
    """
    order = read_order(place)
    first, context = _is_first_rank(), order["context"]
    config, uid = validate(order["config"]), order["uid"]
    with ExitStack() as stack:
        report = None
        if first and context["watch"] is not None:
            report = stack.enter_context(closing(Channel(context["watch"])))
        run = _execute_here(config, uid, context, report, first=first)
    if first:
        left_out = ("id", "folder")
        report_result(place, {k: v for k, v in asdict(run).items() if k not in left_out})
