"""``data.folds=3`` alone: a run with each fold under one parent, which averages them."""

import io
import json
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_support import one_sentence
from scipy import stats

import dlframe
from dlframe.analysis.runs import RunData, read_children, read_local
from dlframe.cli.main import main
from dlframe.errors import ConfigError

TINY = (
    "data=iris", "data.batch_size=16", "trainer.max_epochs=2", "trainer.checkpoint=false",
    "tracking.log_model=false", "tracking.figures=false", "tracking.offline=true",
    "tracking.sample_every=null",
)  # fmt: skip


def command(cwd: Path, *words: str) -> tuple[int, str, str]:
    """Run a command in this process, which spares it the imports; return code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


def preset(folder: Path, name: str, folds: int | str) -> None:
    place = folder / "experiment"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.yaml").write_text(f"# @package _global_\ndata:\n  folds: {folds}\n")


def rows_of(root: Path, runs: list[RunData]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """The rows that each run was tested on."""
    return [np.load(root / run.id / "splits.npz")["test"] for run in runs]


def test_each_fold_is_trained_and_their_mean_is_the_parents(tmp_path: Path) -> None:
    code, out, err = command(tmp_path, "train", "data.folds=3", *TINY)
    assert (code, err) == (0, "")
    root = tmp_path / "runs"
    [parent] = [run for run in map(read_local, root.glob("2*")) if run.group]
    runs, odd = read_children(root, parent.id)
    assert ([run.params["data.fold"] for run in runs], odd) == (["0", "1", "2"], [])
    rows = np.concatenate(rows_of(root, runs))
    np.testing.assert_array_equal(np.sort(rows), np.arange(150))
    values = [run.metrics["test/accuracy"] for run in runs]
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * np.sqrt(1 / 3 + 1 / 2)
    mean = np.mean(values)
    found = {
        name: parent.metrics[f"all runs/test/accuracy/{name}"]
        for name in ("n", "mean", "std", "low", "high")
    }
    assert found == pytest.approx(
        {
            "n": 3,
            "mean": mean,
            "std": np.std(values, ddof=1),
            "low": mean - half,
            "high": mean + half,
        }
    )
    assert (parent.status, parent.name) == ("FINISHED", "mlp-iris by data.fold")
    assert parent.params["data.folds"] == "3"
    assert "data.fold" not in parent.params
    assert f"{mean:.4g}" in out
    assert "corrected resampled t" in out
    page = (root / parent.id / "comparison" / "report.html").read_text()
    assert "corrected resampled t" in page
    code, out, err = command(tmp_path, "compare", "last", "--json")
    assert (code, err) == (0, "")
    [metric] = json.loads(out)["metrics"]
    [group] = metric["groups"]
    assert [group["mean"], group["low"]] == pytest.approx([mean, mean - half])


def test_folds_of_a_preset_are_trained_for_each_swept_value(tmp_path: Path) -> None:
    preset(tmp_path / "conf", "mine", 2)
    code, out, err = command(
        tmp_path, "train", "-m", "activation=relu,tanh", "experiment=mine", "--json",
        "--config-dir", "conf", *TINY,
    )  # fmt: skip
    assert (code, err) == (0, "")
    parents = {json.loads(line)["parent"] for line in out.splitlines()}
    assert len(parents) == 1
    code, out, err = command(tmp_path, "compare", parents.pop(), "--json")
    found = json.loads(out)
    assert (found["by"], found["paired_by"]) == (["activation"], ["seed", "data.fold"])
    told = sorted((run["group"], run["fold"]) for run in found["runs"])
    names = ("activation=relu", "activation=tanh")
    assert told == [(name, fold) for name in names for fold in "01"]
    [test] = found["metrics"][0]["tests"]
    assert (test["test"], test["n"]) == ("corrected paired t", [2])


def test_a_preset_alone_is_enough(tmp_path: Path) -> None:
    preset(tmp_path / "conf", "mine", 2)
    code, out, err = command(
        tmp_path, "train", "experiment=mine", "data.fold=null", "--config-dir", "conf",
        "tracking.enabled=false", *TINY, "--json",
    )  # fmt: skip
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == "note: without records (tracking.enabled=false) folds are not averaged\n"


def test_the_config_is_shown_as_it_is(tmp_path: Path) -> None:
    code, out, err = command(tmp_path, "train", "data.folds=3", "--cfg", "job", *TINY)
    assert (code, err) == (0, "")
    assert "folds: 3\n" in out
    assert "fold: null\n" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "data.folds=3,5"), "one number for all runs of a command; got 'data.folds=3,5'"),
        (
            ("data.folds=3", "data.fold=3"),
            "data.fold must be less than data.folds; got fold 3 of 3",
        ),
        (("data.folds=1",), "data.folds"),
    ],
)
def test_folds_that_cannot_be(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, _, err = command(tmp_path, "train", *words, *TINY)
    assert code == 1
    assert said in one_sentence(err)


def test_presets_of_several_numbers_are_not_mixed(tmp_path: Path) -> None:
    for name, folds in (("two", 2), ("three", 3)):
        preset(tmp_path / "conf", name, folds)
    code, _, err = command(
        tmp_path, "train", "-m", "experiment=two,three", "--config-dir", "conf", *TINY, "--json"
    )
    assert code == 1
    assert err.count("all runs of one command have the same data.folds; got 3 beside 2") == 2
    assert "2 of 4 jobs failed" in err


# --- from Python ----------------------------------------------------------------------------------


def test_cross_validation_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = dlframe.cross_validate("data.folds=3", *TINY)
    values = [run.metrics["test/accuracy"] for run in found.runs]
    assert sorted(run.params["data.fold"] for run in found.runs) == ["0", "1", "2"]
    summary = found.metrics[0].summaries["all runs"]
    assert (found.metrics[0].metric, summary.n) == ("test/accuracy", 3)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.interval == "corrected t"
    assert dlframe.compare("last").metrics[0].summaries == {"all runs": summary}


def test_a_fold_that_fails_ends_it_and_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dlframe.DlframeError, match="150 examples are too few for 80 folds"):
        dlframe.cross_validate("data.folds=80", *TINY)
    [parent] = map(read_local, (tmp_path / "runs").glob("2*"))
    assert parent.status == "FAILED"


def test_python_says_what_to_use() -> None:
    with pytest.raises(
        ConfigError, match=r"train all with .* or dlframe.cross_validate, or choose"
    ):
        dlframe.train("data.folds=3", *TINY)
    with pytest.raises(ConfigError, match=r"a run with each fold; give data.folds=5"):
        dlframe.cross_validate(*TINY)
    with pytest.raises(ConfigError, match=r"leave out data.fold=1"):
        dlframe.cross_validate("data.folds=3", "data.fold=1", *TINY)
    with pytest.raises(ConfigError, match=r"leave out tracking.enabled=false"):
        dlframe.cross_validate("data.folds=3", *TINY, "tracking.enabled=false")
