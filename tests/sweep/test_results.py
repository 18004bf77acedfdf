"""The files that a study leaves: each is whole, agrees with the study, and can be used as it is."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState
from study_support import LOSS, SPACE, made, searched, trial

from dlframe.config.compose import compose
from dlframe.errors import StorageError
from dlframe.sweep.definition import Goal
from dlframe.sweep.importance import importances
from dlframe.sweep.page import page
from dlframe.sweep.results import write_results
from dlframe.sweep.rows import command, epochs, logs, params
from dlframe.sweep.snapshot import Snapshot, snapshot

FAIL = TrialState.FAIL


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A study that was searched, with two trials' own files."""
    study = snapshot(searched(tmp_path_factory.mktemp("searched"), 45))
    for number, metrics in ((9, {}), (10, {"cost/epochs": 7.0})):
        place = study.folder / "trials" / f"{number}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps({"metrics": metrics}))
        (place / "log.txt").write_text("what was printed")
    return study


@pytest.fixture(scope="module")
def written(found: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "new"
    paths = write_results(found, folder)
    assert sorted(path.name for path in paths) == [
        "best.yaml", "failures.md", "importances.json", "trials.csv",
    ]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(paths)
    return folder


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# --- best.yaml ------------------------------------------------------------------------------------


def test_the_best_can_be_trained_as_it_is(written: Path, found: Snapshot) -> None:
    best = read(written / "best.yaml")
    [trial] = found.best
    assert best["study"] == "study"
    assert (best["trial"], best["run"]) == (trial.number, f"20261121-12{trial.number}00-abcdefgh")
    assert best["values"] == {"val/loss": trial.value}
    assert best["params"] == trial.params
    config = compose(best["overrides"])
    assert config.tracking.run_name == "a $b; c"
    assert config.data.component == "dlframe/iris"
    assert config.optimizer.component == f"dlframe/{trial.params['optimizer']}"
    for name in ("optimizer.lr", "data.batch_size", "optimizer.momentum"):
        group, _, option = name.partition(".")
        assert config[group].get(option) == trial.params.get(name)


def test_the_commands_in_its_head_are_whole_lines(written: Path) -> None:
    text = (written / "best.yaml").read_text()
    lines = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    assert lines[0] == "dlframe train +from=study"
    assert shlex.split(lines[1]) == ["dlframe", "train", *read(written / "best.yaml")["overrides"]]


def test_a_folder_of_ones_own_is_named(tmp_path: Path) -> None:
    study = made(tmp_path, [trial(values=1.0)], config_dir="/my own/conf")
    write_results(study, tmp_path)
    assert read(tmp_path / "best.yaml")["config_dir"] == "/my own/conf"
    found = snapshot(study)
    assert command(found, found.best[0])[:4] == ["dlframe", "train", "--config-dir", "/my own/conf"]


def test_secrets_are_in_no_file(tmp_path: Path) -> None:
    study = made(tmp_path, [trial(values=1.0)], fixed=("data.password=hunter22",))
    for path in write_results(study, tmp_path / "out"):
        assert "hunter22" not in path.read_text()


# --- the front ------------------------------------------------------------------------------------


def test_of_several_goals_the_whole_front_is_written(tmp_path: Path) -> None:
    goals = (LOSS, Goal("test/accuracy", "maximize"))
    values = [(0.1, 0.5), (0.2, 0.9), (0.3, 0.8)]
    trials = [trial(values=each, params={"optimizer": "sgd"}) for each in values]
    paths = write_results(made(tmp_path, trials, goals=goals), tmp_path / "out")
    assert [path.name for path in paths] == ["trials.csv", "pareto.yaml"]
    front = read(tmp_path / "out" / "pareto.yaml")
    assert front["goals"] == {"val/loss": "minimize", "test/accuracy": "maximize"}
    assert [each["trial"] for each in front["trials"]] == [0, 1]
    assert front["trials"][1]["values"] == {"val/loss": 0.2, "test/accuracy": 0.9}
    assert front["trials"][1]["overrides"][-1] == "optimizer=sgd"


# --- trials.csv -----------------------------------------------------------------------------------


def test_each_trial_has_its_row(written: Path, found: Snapshot) -> None:
    rows = list(csv.DictReader((written / "trials.csv").read_text().splitlines()))
    assert [int(row["number"]) for row in rows] == [each.number for each in found.trials]
    assert list(rows[0])[:5] == ["number", "state", "reason", "val/loss", "optimizer"]
    for row, each in zip(rows, found.trials, strict=True):
        assert row["val/loss"] == ("" if each.value is None else repr(each.value))
        for own in SPACE:
            assert row[own.name] == str(each.params.get(own.name, ""))
        assert each.duration is not None
        assert float(row["seconds"]) == pytest.approx(each.duration.total_seconds())
    states = {int(row["number"]): (row["state"], row["reason"]) for row in rows}
    assert states[6] == ("retried", "memory")
    assert states[9] == ("failed", "exception")
    [again] = [row for row in rows if row["retry_of"] == "6"]
    assert (again["state"], again["attempt"]) == ("complete", "2")


def test_epochs_are_those_of_the_run(found: Snapshot) -> None:
    by_number = {trial.number: trial for trial in found.trials}
    assert epochs(found, by_number[10]) == 7, "what the run itself says counts for more"
    assert epochs(found, by_number[9]) is None
    pruned = found.of("pruned")[0]
    assert epochs(found, pruned) == max(pruned.intermediate_values)


def test_a_damaged_result_hides_no_trial(tmp_path: Path) -> None:
    found = snapshot(made(tmp_path, [trial(values=1.0, curve=(3.0, 2.0))]))
    place = found.folder / "trials" / "0"
    place.mkdir(parents=True)
    (place / "result.json").write_text('{"metr')
    assert epochs(found, found.trials[0]) == 2


def test_a_trial_of_several_seeds_has_a_log_for_each(tmp_path: Path) -> None:
    found = snapshot(made(tmp_path, [trial(values=1.0, curve=(3.0, 2.0))], seeds=2))
    for seed in range(2):
        place = found.folder / "trials" / f"0-{seed}"
        place.mkdir(parents=True)
        (place / "log.txt").touch()
    assert [path.parent.name for path in logs(found, found.trials[0])] == ["0-0", "0-1"]
    assert epochs(found, found.trials[0]) is None, "what it reported are means over seeds"


def test_a_trial_of_several_folds_has_a_log_for_each(tmp_path: Path) -> None:
    found = snapshot(made(tmp_path, [trial(values=1.0, curve=(3.0, 2.0))], folds=2))
    for fold in range(2):
        place = found.folder / "trials" / f"0-fold{fold}"
        place.mkdir(parents=True)
        (place / "log.txt").touch()
    assert [path.parent.name for path in logs(found, found.trials[0])] == ["0-fold0", "0-fold1"]
    assert epochs(found, found.trials[0]) is None
    assert "each trial is the mean of 2 runs: 2 folds" in page(found, [], None)


def test_values_are_written_as_overrides_have_them(found: Snapshot) -> None:
    for each in found.trials:
        shown = params(found, each)
        assert shown["regularizer"] in ("[]", "[l2]", "[l2,dropout]")
        assert float(shown["optimizer.lr"]) == pytest.approx(each.params["optimizer.lr"], rel=1e-4)
        assert list(shown) == [own.name for own in SPACE if own.name in each.params]


# --- importances.json -----------------------------------------------------------------------------


def test_importances_are_optunas(written: Path, found: Snapshot) -> None:
    told = json.loads((written / "importances.json").read_text())
    quantile = 5 / found.numbers.complete
    assert (told["trials"], told["quantile"]) == (found.numbers.complete, quantile)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    expected = get_param_importances(found.study, evaluator=evaluator)
    assert told["importances"] == pytest.approx(expected)
    assert set(expected) == {own.name for own in SPACE}, "conditional dimensions are among them"
    values = list(told["importances"].values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1.0)


def test_of_a_few_trials_nothing_is_said(tmp_path: Path) -> None:
    trials = [trial(values=float(i), params={"optimizer.lr": 0.01 * (i + 1)}) for i in range(9)]
    study = made(tmp_path, trials)
    assert importances(snapshot(study)) is None
    study.add_trial(trial(values=9.0, params={"optimizer.lr": 0.1}))
    found = importances(snapshot(study))
    assert found is not None
    assert dict(found.shares) == {"optimizer.lr": 1.0}


def test_what_optuna_warns_of_is_a_note(tmp_path: Path) -> None:
    trials = [trial(values=float(i), params={"optimizer.lr": 0.01 * (i + 1)}) for i in range(9)]
    lonely = {"optimizer.lr": 0.1, "optimizer.momentum": 0.5}
    found = importances(snapshot(made(tmp_path, [*trials, trial(values=9.0, params=lonely)])))
    assert found is not None
    [note] = found.notes
    assert "optimizer.momentum" in note


# --- failures.md ----------------------------------------------------------------------------------


def test_failures_are_told_by_reason(written: Path, found: Snapshot) -> None:
    text = (written / "failures.md").read_text()
    sections = text.split("\n## ")
    assert [section.splitlines()[0] for section in sections[1:]] == [
        "memory: 2 trials", "exception: 2 trials",
    ]  # fmt: skip
    memory, exception = sections[1:]
    assert "For example trial 6: it was killed at 2048 MiB" in memory
    assert "dlframe study retry" not in memory, "they are begun again anyway"
    assert "`dlframe study retry study`" in exception
    assert (
        f"| 9 | counts | 20261121-120900-abcdefgh | `{found.folder}/trials/9/log.txt` |"
        in exception
    )
    assert "| 17 | counts | 20261121-121700-abcdefgh | none |" in exception


# --- what is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize("states", [(), (FAIL,), (FAIL, FAIL, TrialState.PRUNED)])
def test_a_study_without_a_result_has_files_all_the_same(
    tmp_path: Path, states: tuple[TrialState, ...]
) -> None:
    trials = [trial(state, reason="exception", said="it broke") for state in states]
    names = [path.name for path in write_results(made(tmp_path, trials), tmp_path / "out")]
    assert names == ["trials.csv", *(["failures.md"] if FAIL in states else [])]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written to .* export study --out FOLDER"):
        write_results(made(tmp_path), tmp_path / "file" / "out")
