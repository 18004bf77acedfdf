"""Transfer and freezing from the command line: several jobs, several processes, interrupted runs."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli_support import QUICK, dlframe, end_delivery, one_sentence, recorded, runs_in, started
from test_resume import wait_for

from dlframe.training.checkpoint import read

pytestmark = pytest.mark.slow

CNN = ("architecture=cnn", "architecture.channels=[4,8]", "data.limit=400")
FEATURES = ("features.0.weight", "features.3.weight")


def train(place: Path, *words: str) -> str:
    done = dlframe("train", *CNN, *QUICK, *words, "--json", cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    return str(json.loads(done.stdout)["run"])


def features_of(place: Path, run: str) -> list[torch.Tensor]:
    state = read(place / "runs" / run / "checkpoints" / "best.ckpt")["state_dict"]
    return [state[f"network.{name}"] for name in FEATURES]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose ``runs`` the tests of this module record into."""
    folder = tmp_path_factory.mktemp("strategies")
    yield folder
    end_delivery(folder / "runs")


@pytest.fixture(scope="module")
def source(place: Path) -> str:
    return train(place, "seed=5")


def test_jobs_of_a_multirun_begin_with_runs_of_their_own(place: Path, source: str) -> None:
    other = train(place, "seed=6")
    before = runs_in(place / "runs")
    words = ("-m", f"transfer.run={source},{other}", "transfer.parts=[features]",
             "trainer.freeze=[features]")  # fmt: skip
    done = dlframe("train", *CNN, *QUICK, *words, cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    made = [run for run in runs_in(place / "runs") if run not in before]
    folders = [run for run in made if (place / "runs" / run / "transfer.json").is_file()]
    assert len(folders) == 2
    for run, begun in zip(folders, (source, other), strict=True):
        pairs = zip(features_of(place, run), features_of(place, begun), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    query = "SELECT value FROM tags WHERE key = 'dlframe.transfer_run'"
    assert {value for (value,) in recorded(place / "runs", query)} == {source, other}


def test_trials_of_a_search_begin_with_a_run(place: Path, source: str) -> None:
    before = runs_in(place / "runs")
    done = dlframe("train", *CNN, *QUICK, f"+from={source[-6:]}", "trainer.freeze=[features]",
                   "sweep=random", "optimizer.lr=1e-3,1e-2", "hydra.sweeper.n_trials=2",
                   "hydra.sweeper.study_name=tuned", cwd=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [run for run in runs_in(place / "runs") if run not in before]
    trials = [run for run in made if (place / "runs" / run / "transfer.json").is_file()]
    assert len(trials) == 2
    for run in trials:
        pairs = zip(features_of(place, run), features_of(place, source), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    clash = dlframe("train", "+from=tune", cwd=place)
    assert clash.returncode == 0, "the study, whose beginning this is"
    nothing = dlframe("train", "+from=tunes", cwd=place)
    assert "did you mean 'tuned'" in one_sentence(nothing.stderr)


def test_two_processes_thaw_together(place: Path, source: str) -> None:
    words = ("trainer=ddp_cpu", f"transfer.run={source}", "trainer.freeze=['features.*']",
             "trainer.unfreeze_every=1", "trainer.max_epochs=4")  # fmt: skip
    options = [word for word in QUICK if "max_epochs" not in word]
    done = dlframe("train", *CNN, *options, *words, "--json", cwd=place)
    # Torch itself says once that nothing is frozen any more, in words of its own.
    said = [line for line in done.stderr.splitlines() if "find_unused_parameters" not in line]
    assert (said, done.returncode) == ([], 0)
    run = json.loads(done.stdout)["run"]
    last = read(place / "runs" / run / "checkpoints" / "last.ckpt")["state_dict"]
    begun = features_of(place, source)
    assert not any(
        torch.equal(last[f"network.{name}"], value)
        for name, value in zip(FEATURES, begun, strict=True)
    )


def test_a_killed_run_goes_on_without_the_one_it_began_with(place: Path) -> None:
    gone = train(place, "seed=7")
    before = runs_in(place / "runs")
    process = started("train", *CNN, "+from=last", "trainer.freeze=[features]", "data.batch_size=4",
                      "trainer.max_epochs=20", "trainer.checkpoint_every=0.02", cwd=place)  # fmt: skip
    made: list[str] = []
    while not made and process.poll() is None:
        made = [run for run in runs_in(place / "runs") if run not in before]
    wait_for(place / "runs" / made[0] / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGKILL)
    process.communicate(60)
    begun = features_of(place, gone)
    shutil.rmtree(place / "runs" / gone)
    done = dlframe("resume", made[0], cwd=place)
    assert done.returncode == 0, done.stderr
    pairs = zip(features_of(place, made[0]), begun, strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    replayed = dlframe("replay", made[0], cwd=place)
    assert replayed.returncode == 1
    assert f"run '{gone}' has no model in MLflow" in one_sentence(replayed.stderr)
