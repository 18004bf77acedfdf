"""Arrays and tables of types of their own: npz, Parquet, and what is handed over in memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_wine

import dlframe
from dlframe.cli.main import main
from dlframe.components.data.arrays import Arrays, Npz
from dlframe.components.data.frame import Frame
from dlframe.components.data.held import digest_of, hold, holding
from dlframe.components.data.table import Csv, Parquet
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import DataOptions, Examples
from dlframe.training.splits import load_splits

X = np.arange(24.0).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])
FAST = (
    "trainer.max_epochs=1",
    "data.batch_size=16",
    "tracking.enabled=false",
    "trainer.progress=off",
)


def from_file(path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> Examples:
    np.savez(path / "data.npz", **arrays)
    return Npz(path=str(path / "data.npz"), **(options or {})).load()


# --- npz ---


@pytest.mark.parametrize(
    ("x", "options", "kind", "shape"),
    [
        (X, {}, "features", (6, 4)),
        (X[:, 0], {}, "features", (6, 1)),
        (np.zeros((6, 5, 2)), {}, "sequence", (6, 5, 2)),
        (np.zeros((6, 5, 2), np.uint8), {}, "image", (6, 1, 5, 2)),
        (np.zeros((6, 5, 2), np.uint8), {"input": "sequence"}, "sequence", (6, 5, 2)),
        (np.zeros((6, 5, 7)), {"input": "image"}, "image", (6, 1, 5, 7)),
        (np.zeros((6, 3, 8, 8)), {}, "image", (6, 3, 8, 8)),
        (np.zeros((6, 16, 8, 3)), {"input": "image"}, "image", (6, 16, 8, 3)),
    ],
)
def test_the_kind_of_input_follows_from_the_shape(
    x: NDArray[Any], options: dict[str, Any], kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=x, y=Y)
    data = Npz(path=str(tmp_path / "data.npz"), **options)
    assert data.load().x.shape == shape
    assert data.input == kind


@pytest.mark.parametrize(
    ("y", "more", "options", "task", "values", "names"),
    [
        (Y, {}, {}, "classification", [0, 1, 2, 0, 1, 2], ("0", "1", "2")),
        (Y * 5 - 5, {}, {}, "classification", [0, 1, 2, 0, 1, 2], ("-5", "0", "5")),
        (Y[:, None], {}, {}, "classification", [0, 1, 2, 0, 1, 2], ("0", "1", "2")),
        (np.array(list("bcabca")), {}, {}, "classification", [1, 2, 0, 1, 2, 0], ("a", "b", "c")),
        (Y > 0, {}, {}, "classification", [0, 1, 1, 0, 1, 1], ("False", "True")),
        (Y, {"names": np.array(["x", "y", "z", "w"])}, {}, "classification", [0, 1, 2, 0, 1, 2],
         ("x", "y", "z", "w")),
        (Y + 0.5, {}, {}, "regression", [[0.5], [1.5], [2.5]] * 2, ()),
        (Y, {}, {"task": "regression"}, "regression", [[0], [1], [2]] * 2, ()),
        (np.stack([Y == 0, Y == 1], 1), {"names": np.array(["p", "q"])}, {}, "multilabel",
         [[1, 0], [0, 1], [0, 0]] * 2, ("p", "q")),
        (np.stack([Y, Y * 2.5], 1), {}, {}, "regression", [[0, 0], [1, 2.5], [2, 5]] * 2, ()),
    ],
)  # fmt: skip
def test_targets_are_read_as_those_of_tables(
    y: NDArray[Any],
    more: dict[str, Any],
    options: dict[str, Any],
    task: str,
    values: list[Any],
    names: tuple[str, ...],
    tmp_path: Path,
) -> None:
    examples = from_file(tmp_path, options, x=X, y=y, **more)
    assert examples.task == task
    assert examples.y is not None
    assert examples.y.tolist() == values
    assert examples.class_names == names


def test_fixed_parts_follow_the_others(tmp_path: Path) -> None:
    examples = from_file(
        tmp_path, x=X, y=Y, x_test=X[:2] + 100, y_test=Y[:2], x_val=-X[:1], y_val=Y[:1]
    )
    assert isinstance(examples.x, np.ndarray)
    assert examples.x[:, 0].tolist() == [0, 4, 8, 12, 16, 20, 0, 100, 104]
    assert examples.val is not None
    assert examples.val.tolist() == [6]
    assert examples.test is not None
    assert examples.test.tolist() == [7, 8]


def test_arrays_without_targets_are_for_tasks_without_labels(tmp_path: Path) -> None:
    examples = from_file(tmp_path, x=X)
    assert (examples.y, examples.task) == (None, "")


class Mine:
    """Something that only a pickle holds."""


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"y": Y}, {}, "an array x is needed; got y"),
        ({"x": X, "Y": Y}, {}, "holds an array 'Y'; "),
        ({"x": X, "y": Y[:5]}, {}, r"each row of x needs a target; got 6 rows and y of shape \[5\]"),
        ({"x": X, "y": np.array(0)}, {}, "needs a target"),
        ({"x": X, "y": Y, "x_test": X}, {}, "all parts need targets, or none; y_test is missing"),
        ({"x": X, "x_test": X, "y_test": Y}, {}, "or none; y is missing"),
        ({"x": X, "y": Y, "y_test": Y}, {}, "y_test needs its inputs"),
        ({"x": X, "y": Y, "x_test": X[:, :3], "y_test": Y}, {}, r"one shape; got \[4\] and \[3\]"),
        ({"x": X.astype(str), "y": Y}, {}, "x must hold numbers; got <U"),
        ({"x": np.array([Mine()] * 6), "y": Y}, {}, "no file of plain arrays .it holds Python objects"),
        ({"x": np.zeros((6, 8, 8, 3)), "y": Y}, {}, r"numpy\.moveaxis\(x, -1, 1\)"),
        ({"x": np.zeros((6, 1, 1, 1, 1)), "y": Y}, {}, r"x must have the shape \[N, F\], "),
        ({"x": X, "y": Y}, {"input": "image"}, r"\[N, C, H, W\] or \[N, H, W\] for data.input=image"),
        ({"x": X, "y": np.zeros((6, 2, 2))}, {}, r"y must be \[N\] or \[N, T\]"),
        ({"x": X, "y": np.array([0, np.nan] * 3)}, {}, "3 values of y are NaN or infinite"),
        ({"x": X, "y": Y, "names": np.array(["a", "b"])}, {}, "indices from 0 to 1; got 0 to 2"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, {"task": "classification"}, "needs one target column"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(
    arrays: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        from_file(tmp_path, options, **arrays)


def test_files_that_are_no_npz_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "text.npz").write_text("x,y")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "short.npz", x=X)
    (tmp_path / "short.npz").write_bytes((tmp_path / "short.npz").read_bytes()[:-40])
    for name, message in (
        ("nowhere.npz", "no file is at"), (".", "a directory is at"), ("one.npy", "holds one array"),
        ("text.npz", "no file of plain arrays"), ("empty.npz", "no file of plain arrays"),
        ("short.npz", "no file of plain arrays"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            Npz(path=str(tmp_path / name)).load()


# --- Parquet ---


def test_a_parquet_file_gives_what_the_same_csv_gives(shared_data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(shared_data / "titanic.csv")
    table.to_parquet(tmp_path / "titanic.parquet")
    options: dict[str, Any] = {"target": "Survived", "ignore": ("PassengerId",), "clip": "iqr"}
    csv = Csv(path=str(shared_data / "titanic.csv"), **options)
    parquet = Parquet(path=str(tmp_path / "titanic.parquet"), **options)
    one, other = (load_splits(d, DataOptions(), "auto", unsupervised=False) for d in (csv, parquet))
    assert one.spec == other.spec
    for name in ("train", "val", "test"):
        assert getattr(one, name).x.equal(getattr(other, name).x)
        assert getattr(one, name).y.equal(getattr(other, name).y)
    rows = parquet.read(tmp_path / "titanic.parquet")
    assert one.preprocessor.transform(rows).equal(one.preprocessor.transform(table))
    assert isinstance(csv.read(tmp_path / "titanic.parquet"), pd.DataFrame)
    assert isinstance(parquet.read(shared_data / "titanic.csv"), pd.DataFrame)


def test_types_that_parquet_has_are_read(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3, 4] * 5, dtype="Int64"),
            "flag": pd.array([True, False, None, True] * 5, dtype="boolean"),
            "kind": pd.Categorical(["a", "b", None, "a"] * 5),
            "day": pd.date_range("2026-01-01", periods=20),
            "price": np.linspace(0, 1, 20),
        },
        index=pd.Index(range(20), name="row"),
    )
    table.to_parquet(tmp_path / "t.parquet")
    examples = Parquet(path=str(tmp_path / "t.parquet"), target="price").load()
    assert examples.feature_names == ("row", "whole", "flag", "kind", "day")
    data = Parquet(path=str(tmp_path / "t.parquet"), target="price", ignore=("row",))
    splits = load_splits(data, DataOptions(batch_size=4), "auto", unsupervised=False)
    assert splits.spec.feature_names == ("whole", "flag", "kind=a", "kind=b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_text("a,b\n1,2\n"), "is no Parquet file .*data=csv"),
        (lambda p: p.write_bytes(b""), "is no Parquet file"),
        (lambda p: p.mkdir(), "a directory is at"),
        (lambda p: None, "no file is at"),
        (lambda p: pd.DataFrame({"y": []}).to_parquet(p), "holds no rows"),
        (lambda p: pd.DataFrame({"y": [1, 2], "x": [[1], [2]]}).to_parquet(p),
         "the column 'x' of .* holds a ndarray in a row"),
        (lambda p: pd.DataFrame({"x": [1, 2]}).to_parquet(p), "data.target names the column 'y'"),
    ],
)  # fmt: skip
def test_a_parquet_file_that_does_not_do_is_refused(
    make: Any, message: str, tmp_path: Path
) -> None:
    make(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        Parquet(path=str(tmp_path / "t.parquet"), target="y").load()


# --- in memory ---


def test_arrays_in_memory_give_what_a_file_of_them_gives(tmp_path: Path) -> None:
    from_memory, file = hold((X, Y)), from_file(tmp_path, x=X, y=Y)
    with holding(from_memory) as digest:
        examples = Arrays(content=digest).load()
    np.testing.assert_array_equal(np.asarray(examples.x), np.asarray(file.x))
    np.testing.assert_array_equal(np.asarray(examples.y), np.asarray(file.y))
    with pytest.raises(DataError, match=r"are not in this process; .* data=npz or data=parquet"):
        Arrays(content=digest).load()


@pytest.mark.parametrize(
    "y",
    [
        "kind",
        ["kind"],
        pd.Series(list("abab"), name="kind"),
        pd.Series(list("abab"), name="kind", index=[9, 8, 7, 6]),
        pd.DataFrame({"kind": list("abab")}),
        np.array(list("abab")),
        list("abab"),
    ],
)
def test_targets_of_a_dataframe_may_be_given_in_any_form(y: Any) -> None:
    whole = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "kind": list("abab")}, index=[3, 1, 2, 0])
    named = y == "kind" if isinstance(y, str) else y == ["kind"] if isinstance(y, list) else False
    with holding(hold((whole if named else whole[["size"]], y))) as digest:
        examples = Frame(content=digest).load()
    assert examples.y is not None
    assert examples.y.tolist() == [0, 1, 0, 1]
    assert examples.feature_names == ("size",)
    assert examples.class_names == ("a", "b")
    assert examples.target_names in (("kind",), ("target",))


def test_equal_content_has_one_digest_and_other_content_another() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    given: list[Any] = [
        (X, Y), (X, None), (X, Y.astype(np.int32)), (X[::-1], Y), (X.reshape(6, 2, 2), Y),
        (X, [*"abcabc"]), (X, np.array([*"abcabd"], dtype=object)),
        (frame, "b"), (frame, None), (frame.rename(columns={"a": "c"}), "b"),
    ]  # fmt: skip
    digests = [digest_of(hold(each)) for each in given]
    assert len(set(digests)) == len(given)
    assert digests == [digest_of(hold(each)) for each in given]
    assert digests[0] == digest_of(hold((X.copy(order="F"), Y.tolist())))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, r"must be a pair \(x, y\) of inputs and targets; got ndarray"),
        ((X, Y, Y), "must be a pair"),
        ((["a", "b"], [0, 1]), "x must be an array of numbers or a DataFrame; got <U1"),
        ((X, Y[:3]), "x has 6 rows, y has 3 rows"),
        ((X, 3), "y has no rows"),
        ((X, "kind"), "y names the column 'kind', and x is no DataFrame"),
        ((pd.DataFrame({"a": [1, 2]}), [1, 2, 3]), "x has 2 rows, y has 3"),
        ((pd.DataFrame({"a": [1, 2]}), pd.Series([1, 2], name="a")), "both have a column 'a'"),
        ((pd.DataFrame({"a": [1, 2], "b": [[1], [2]]}), "a"), "neither numbers nor texts"),
        ((pd.DataFrame([[1, 2]] * 9, columns=["a", "a"]), Y[[0, 1, 2] * 3]), "several named 'a'"),
        ((pd.DataFrame({"size": [1, 2]}), "sise"), "which the table lacks; did you mean 'size'"),
    ],
)  # fmt: skip
def test_data_that_does_not_do_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dlframe.train(*FAST, data=data)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=iris"], "data is given twice"),
        (
            ["trainer.devices=2", "trainer.accelerator=cpu"],
            r"for one process; got trainer\.devices=2",
        ),
        (["data.scaling=robust"], "has no option 'scaling'"),
    ],
)
def test_options_that_exclude_data_in_memory(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dlframe.train(*FAST, *overrides, data=(X, Y))


def test_training_on_what_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    wine = load_wine(as_frame=True)
    x, y = wine.data.to_numpy(), wine.target_names[wine.target]
    run = dlframe.train(*FAST, data=(x, y))
    again = dlframe.train(*FAST, data=(x.copy(), y.tolist()))
    assert run.metrics["test/loss"] == again.metrics["test/loss"]
    digest = digest_of(hold((x, y)))
    recorded = json.loads((run.folder / "overrides.json").read_text())
    assert recorded[:2] == ["data=arrays", f"data.content={digest}"]
    model = dlframe.load(run.id)
    assert set(model.predict(x)) <= set(wine.target_names)

    table = dlframe.train(*FAST, "data.scaling=robust", data=(wine.frame, "target"))
    assert dlframe.load(table.id).predict(wine.data).shape == (178,)
    capsys.readouterr()
    assert main(["test", run.id]) == 1  # its arrays were never stored
    assert (
        f"the arrays with the SHA-256 {digest[:12]} are not in this process"
        in capsys.readouterr().err
    )
