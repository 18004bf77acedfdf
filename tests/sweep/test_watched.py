"""Pruning: a training that is watched reports each validation, and ends in order when it is told to."""

import math
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from run_support import bodies, ignore, measured, tags, training

from dlframe.api import compose
from dlframe.sweep.pool import Pool, run_inline
from dlframe.sweep.session import members
from dlframe.training.channel import Answer, Channel, Listener
from dlframe.training.run import execute

pytest_plugins = ["pool_fixtures"]


def test_each_validation_is_reported_as_it_is_recorded(tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=6", "trainer.eval_every=2")
    heard: dict[int, dict[str, float]] = {}

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard[step] = values
        return False

    found = run_inline(order, tmp_path / "1", on_report)
    assert found.state == "finished"
    assert list(heard) == [2, 4, 6], "by the number of the epoch"
    folder = tmp_path / "runs" / order.uid
    for metric in ("val/loss", "val/accuracy"):
        assert [values[metric] for values in heard.values()] == [
            value for _, value in measured(folder, metric)
        ]
    assert {key.partition("/")[0] for values in heard.values() for key in values} == {"val"}


def test_pruned(tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=9", "trainer.checkpoint_every=0")
    found = run_inline(order, tmp_path / "1", lambda step, values: step == 2)
    assert (found.state, found.reason, found.said) == (
        "pruned", "pruned", "it was pruned after epoch 2",
    )  # fmt: skip
    folder = tmp_path / "runs" / order.uid
    assert bodies(folder, "finish") == [{"status": "FINISHED", "error": None}]
    told = tags(folder)
    assert told["optuna.state"] == "PRUNED"
    assert told["dlframe.pruned"] == "stopped after epoch 2 by the pruner of its study"
    assert bodies(folder, "model", "checkpoint") == []
    assert not [key for key in found.metrics if key.startswith("test/")]
    assert found.metrics["cost/epochs"] == 2
    assert len(measured(folder, "train/loss")) == 2, "its second epoch has come to its end"
    assert measured(folder, "best/val_loss") == [(0, found.metrics["best/val_loss"])]
    assert [body["path"] for body in bodies(folder, "artifact") if body["folder"] == "figures"] == [
        "figures/learning_curves.png"
    ]


def test_being_watched_changes_nothing(tmp_path: Path) -> None:
    order = training(
        tmp_path / "runs", "trainer.max_epochs=3", "regularizer=[dropout,early_stopping]"
    )
    found = run_inline(order, tmp_path / "1", ignore)
    alone = execute(order.config, wait=False)
    assert not alone.pruned
    kept = {k: v for k, v in alone.metrics.items() if not k.startswith("perf/")}
    assert kept.items() <= found.metrics.items()


def test_an_epoch_that_is_trained_again_keeps_its_value(tmp_path: Path) -> None:
    words = ("trainer.max_epochs=4", "trainer.checkpoint_every=0", "trainer.limit_train=2")
    order = training(tmp_path / "runs", *words)
    heard: list[tuple[int, float]] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append((step, values["val/loss"]))
        if len(heard) == 3:  # before the checkpoint of the third epoch
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run_inline(order, tmp_path / "1", on_report)
    # As if it were a device that never gives the same digits twice.
    other = compose(*order.overrides, "trainer.precision=bf16-mixed")
    found = run_inline(replace(order, config=other), tmp_path / "2", on_report)
    assert found.state == "finished"
    assert [step for step, _ in heard] == [1, 2, 3, 1, 2, 3, 4]
    assert heard[:3] == heard[3:6]
    folder = tmp_path / "runs" / order.uid
    assert [value for _, value in measured(folder, "val/loss")] == [v for _, v in heard[3:]]


def test_pruned_for_good_once_that_was_decided(tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=9", "trainer.checkpoint_every=0")
    steps: list[int] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        steps.append(step)
        return step == 2

    folder = tmp_path / "runs" / order.uid

    def stopped_at_the_end(step: int, values: dict[str, float]) -> bool:
        if step == 2:
            # A place that cannot be written ends the run when its training has come to its end.
            (folder / "figures").write_text("in the way")
        return on_report(step, values)

    failed = run_inline(order, tmp_path / "1", stopped_at_the_end)
    assert failed.state == "failed"
    (folder / "figures").unlink()
    assert steps == [1, 2]
    found = run_inline(order, tmp_path / "2", ignore)
    assert found.state == "pruned", "although it is not told so again"
    assert found.metrics["cost/epochs"] == 2
    assert tags(folder)["optuna.state"] == "PRUNED"


def test_the_last_answer_counts_of_a_training_that_goes_on(tmp_path: Path) -> None:
    order = training(
        tmp_path / "runs", "trainer.max_epochs=9", "trainer.checkpoint_every=0",
        "trainer.limit_train=2",
    )  # fmt: skip

    def interrupt(step: int, values: dict[str, float]) -> bool:
        if step == 3:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run_inline(order, tmp_path / "1", interrupt)
    steps: list[int] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        steps.append(step)
        return step in (1, 4)  # by now other trials are better at the first epoch

    found = run_inline(order, tmp_path / "2", on_report)
    assert (found.state, steps) == ("pruned", [1, 2, 3, 4])
    assert found.metrics["cost/epochs"] == 4


# --- the channel ----------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Give a listener."""
    made = Listener()
    yield made
    made.close()


def test_several_trainings_report_to_one_listener(listener: Listener) -> None:
    heard: list[tuple[str, int, dict[str, float]]] = []

    def expected(name: str) -> Channel:
        def hear(step: int, values: dict[str, float], answer: Answer) -> None:
            heard.append((name, step, values))
            answer(step == 2)

        return Channel(listener.expect(hear))

    long = {"x" * 200_000: 0.1}
    with closing(expected("a")) as a, closing(expected("b")) as b:
        assert [a(step, {"x": math.inf}) for step in (1, 2)] == [False, True]
        assert b(7, long) is False
        path = Path(a.address.partition("@")[2])
        assert path.parent.stat().st_mode & 0o077 == 0, "nobody else may report"
    assert heard == [("a", 1, {"x": math.inf}), ("a", 2, {"x": math.inf}), ("b", 7, long)]


def test_who_is_not_answered_goes_on(listener: Listener, capfd: pytest.CaptureFixture[str]) -> None:
    answers: list[Answer] = []
    address = listener.expect(lambda step, values, answer: answers.append(answer))
    assert Channel(address, patience=0.1)(1, {}) is False
    assert capfd.readouterr().err == (
        "dlframe: the study did not answer (timed out); training goes on\n"
    )
    wrong = Channel(f"guessed@{address.partition('@')[2]}")
    assert wrong(1, {}) is False
    listener.forget(address)
    assert Channel(address)(1, {}) is False
    assert capfd.readouterr().err.count("the connection was closed") == 2
    assert len(answers) == 1
    assert Channel("nobody@/nowhere")(1, {}) is False
    assert "No such file or directory" in capfd.readouterr().err


def test_a_late_answer_is_not_the_next_ones(listener: Listener) -> None:
    answers: list[Answer] = []

    def hear(step: int, values: dict[str, float], answer: Answer) -> None:
        answers.append(answer)
        if step == 2:
            answers[0](True)  # to the first report, which nobody waits for any more
            answer(False)

    with closing(Channel(listener.expect(hear), patience=1.0)) as channel:
        assert channel(1, {}) is False
        channel.close()
        assert channel(2, {}) is False
    assert len(answers) == 2


# --- several devices ------------------------------------------------------------------------------


def test_all_processes_of_a_pruned_training_end_in_order(pool: Pool, tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer=ddp_cpu", "trainer.max_epochs=9")
    heard: list[int] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append(step)
        return step == 2

    found = pool.run(order, tmp_path / "1", on_report=on_report)
    log = (tmp_path / "1" / "log.txt").read_text()
    assert (found.state, found.code, log) == ("pruned", 0, "")
    assert heard == [1, 2], "one process speaks for all"
    folder = tmp_path / "runs" / order.uid
    assert bodies(folder, "finish") == [{"status": "FINISHED", "error": None}]
    assert tags(folder)["optuna.state"] == "PRUNED"
    assert found.metrics["cost/epochs"] == 2


def ranks(number: int) -> Iterator[psutil.Process]:
    """The training processes that this process has started, of one number."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            command = "dlframe.training.rank" in process.cmdline()
            if command and process.environ().get("LOCAL_RANK", "0") == str(number):
                yield process


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_one_of_several_processes_is_killed(pool: Pool, tmp_path: Path, number: int) -> None:
    order = training(tmp_path / "runs", "trainer=ddp_cpu", "trainer.max_epochs=1000")
    sessions: set[int] = set()

    def on_report(step: int, values: dict[str, float]) -> bool:
        if step == 2:
            (process,) = ranks(number)
            sessions.add(os.getsid(process.pid))
            process.kill()
        return False

    found = pool.run(order, tmp_path / "1", on_report=on_report)
    assert (found.state, found.reason) == ("failed", "killed")
    (session,) = sessions
    assert not any(members(session))


@pytest.mark.slow
def test_several_processes_are_stopped_and_go_on(pool: Pool, tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer=ddp_cpu", "trainer.max_epochs=200")
    heard: list[int] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append(step)
        return step == 200

    patient = Pool(threads=1)
    stopped = patient.run(
        order, tmp_path / "1", on_report=on_report, should_stop=lambda: heard[-1:] == [3]
    )
    patient.close()
    assert stopped.state == "stopped"
    reached = heard[-1]
    assert reached < 200
    found = pool.run(order, tmp_path / "2", on_report=on_report)
    assert found.state == "pruned"
    assert heard[reached:] == list(range(1, 201))
