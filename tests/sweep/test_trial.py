"""A trial's training: recorded like any other run, and gone on with where an attempt was killed."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from run_support import bodies, ignore, measured, tags, training

from dlframe.sweep.order import Outcome
from dlframe.sweep.pool import Pool, run_inline
from dlframe.training.resume import last_checkpoint
from dlframe.training.run import execute

pytest_plugins = ["pool_fixtures"]

TRAIN = "dlframe.sweep.trial:train"


def values(outcome: Outcome) -> dict[str, float]:
    """The metrics that depend on nothing but the config."""
    return {k: v for k, v in outcome.metrics.items() if not k.startswith(("perf/", "cost/"))}


def test_a_trial_is_a_run_like_any_other(pool: Pool, tmp_path: Path) -> None:
    order = training(
        tmp_path / "runs", "trainer.max_epochs=2", parent="the-study", command=["dlframe", "sweep"],
        tags={"dlframe.study": "of-a-test", "dlframe.trial": "3"},
    )  # fmt: skip
    found = pool.run(order, tmp_path / "3", on_report=ignore)
    assert (found.uid, found.state, found.reason, found.code) == (order.uid, "finished", None, 0)
    alone = execute(order.config, overrides=order.overrides, wait=False)
    kept = {k: v for k, v in alone.metrics.items() if not k.startswith("perf/")}
    assert kept.items() <= values(found).items(), "the same, digit by digit"
    known = {"best/val_loss", "test/accuracy", "final/val_loss", "cost/parameters", "cost/seconds"}
    assert known <= found.metrics.keys()
    folder = tmp_path / "runs" / order.uid
    recorded = {
        key: body["values"][key] for body in bodies(folder, "metrics") for key in body["values"]
    }
    assert recorded == found.metrics, "every metric of the run, with its last value"
    told = tags(folder)
    assert (told["dlframe.study"], told["dlframe.trial"]) == ("of-a-test", "3")
    assert "dlframe.pruned" not in told
    assert bodies(folder, "finish") == [{"status": "FINISHED", "error": None}]
    assert len(bodies(folder, "model")) == 1
    assert (folder / "config.yaml").read_text().count("of-a-test") == 0, "a replay is no trial"


@pytest.mark.parametrize(
    ("override", "reason", "said"),
    [
        ("data.batch_size=5000", "exception", "data.batch_size must not exceed"),
        ("trainer.precision=16-mixed", "config", "trainer.precision=16-mixed needs a GPU"),
        ("optimizer.lr=1e30", "exception", "the training loss became "),
        ("architecture.hidden=[100000000000]", "memory", "RuntimeError in "),
    ],
)
def test_a_training_that_fails(
    pool: Pool, tmp_path: Path, override: str, reason: str, said: str
) -> None:
    found = pool.run(training(tmp_path / "runs", override), tmp_path / "0", on_report=ignore)
    assert (found.state, found.reason) == ("failed", reason)
    assert found.said is not None
    assert found.said.startswith(said)


def test_a_trial_that_is_stopped_is_gone_on_with(pool: Pool, tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=4", "trainer.limit_train=2")
    heard: list[int] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append(step)
        return False

    stopped = pool.run(
        order, tmp_path / "1", on_report=on_report, should_stop=lambda: heard[-1:] == [2]
    )
    assert (stopped.state, stopped.reason) == ("stopped", "stopped")
    folder = tmp_path / "runs" / order.uid
    assert bodies(folder, "finish")[-1]["status"] == "KILLED"
    found = pool.run(order, tmp_path / "2", on_report=ignore)
    assert found.state == "finished"
    assert tags(folder)["dlframe.attempts"] == 2
    whole = run_inline(training(tmp_path / "runs", *order.overrides), tmp_path / "3", ignore)
    assert values(found) == values(whole), "as if it had never been stopped"


def test_a_trial_whose_reports_cannot_be_taken_stops_in_order(pool: Pool, tmp_path: Path) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=100000", "trainer.limit_train=2")

    def on_report(step: int, values: dict[str, float]) -> bool:
        if step == 2:
            raise OSError("the storage is gone")
        return False

    with pytest.raises(OSError, match="the storage is gone"):
        pool.run(order, tmp_path / "1", on_report=on_report)
    folder = tmp_path / "runs" / order.uid
    assert bodies(folder, "finish") == [{"status": "KILLED", "error": None}]
    assert last_checkpoint(folder) is not None


def test_a_trial_that_is_killed_is_gone_on_with(pool: Pool, tmp_path: Path) -> None:
    order = training(
        tmp_path / "runs", "trainer.max_epochs=5", "trainer.limit_train=2",
        "trainer.checkpoint_every=0", entry="entries:die", tags={"die": "3"},
    )  # fmt: skip
    heard: list[tuple[int, dict[str, float]]] = []

    def on_report(step: int, values: dict[str, float]) -> bool:
        heard.append((step, values))
        return False

    killed = pool.run(order, tmp_path / "1", on_report=on_report)
    assert (killed.state, killed.reason, killed.code) == ("failed", "killed", -signal.SIGKILL)
    before, heard = heard, []
    found = pool.run(replace(order, entry=TRAIN), tmp_path / "2", on_report=on_report)
    assert found.state == "finished"
    assert [step for step, _ in before] == [1, 2, 3]
    assert [step for step, _ in heard] == [1, 2, 3, 4, 5], "who hears now may be another"
    assert heard[:3] == before, "an epoch has one value"
    folder = tmp_path / "runs" / order.uid
    assert len(measured(folder, "val/loss")) == 5
    whole = run_inline(training(tmp_path / "runs", *order.overrides), tmp_path / "3", ignore)
    assert values(found) == values(whole), "as if it had never been killed"


@pytest.mark.parametrize("pruned", [False, True])
def test_a_trial_that_was_killed_when_all_was_recorded_is_not_repeated(
    tmp_path: Path, pruned: bool
) -> None:
    order = training(tmp_path / "runs", "trainer.max_epochs=2", "trainer.limit_train=2")
    found = run_inline(order, tmp_path / "1", lambda step, values: pruned)
    assert found.state == ("pruned" if pruned else "finished")
    again = run_inline(order, tmp_path / "2", ignore)
    assert again == found
    assert len(bodies(tmp_path / "runs" / order.uid, "start")) == 1
