"""Tables from CSV files: types, gaps, categories, targets, and everything that can be wrong."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from dlframe.components.data.table import Csv
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import Examples, Preprocessor


def written(folder: Path, text: str, name: str = "table.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def frame(examples: Examples) -> pd.DataFrame:
    assert isinstance(examples.x, pd.DataFrame)
    return examples.x


def fitted(data: Csv) -> tuple[Preprocessor, pd.DataFrame]:
    x = frame(data.load())
    preprocessor = data.preprocessor()
    preprocessor.fit(x)
    return preprocessor, x


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """60 rows: numbers with gaps and an outlier, booleans, two columns of categories, a target."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 60).round(1),
            "rooms": rng.integers(1, 6, 60),
            "member": rng.random(60) < 0.3,
            "city": rng.choice(["Bonn", "Köln", "Ulm", "Jena"], 60, p=[0.5, 0.3, 0.15, 0.05]),
            "grade": rng.choice(["A", "B"], 60),
            "label": rng.choice(["no", "yes"], 60),
        }
    )
    table.loc[3, "age"] = 900.0
    table.loc[[5, 9], "age"] = np.nan
    table.loc[[7, 8, 11], "city"] = np.nan
    table.to_csv(tmp_path / "mixed.csv", index=False)
    return str(tmp_path / "mixed.csv")


# --- preprocessing, against scikit-learn's own pipeline ---


@pytest.mark.parametrize("missing", ["median", "most_frequent"])
@pytest.mark.parametrize(
    ("scaling", "scaler"),
    [
        ("standard", StandardScaler()),
        ("minmax", MinMaxScaler()),
        ("robust", RobustScaler()),
        ("none", "passthrough"),
    ],
)
@pytest.mark.parametrize("max_categories", [32, 3])
def test_tensors_equal_those_of_a_scikit_learn_pipeline(
    missing: Any, scaling: Any, scaler: Any, max_categories: int, mixed: str
) -> None:
    data = Csv(
        path=mixed, target="label", missing=missing, scaling=scaling, max_categories=max_categories
    )
    preprocessor, x = fitted(data)
    reference = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy=missing), scaler),
                ["age", "rooms", "member"],
            ),
            (
                "categories",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"),
                    OneHotEncoder(
                        max_categories=max_categories,
                        handle_unknown="infrequent_if_exist",
                        sparse_output=False,
                    ),
                ),
                ["city", "grade"],
            ),
        ]
    )
    plain = x.assign(member=x["member"].astype(float)).astype({"city": object, "grade": object})
    expected = reference.fit_transform(plain)
    result = preprocessor.transform(x)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)

    new = plain.iloc[:3].assign(city=["Bonn", "Rom", "Jena"], age=[np.nan, 1.0, 2.0])
    np.testing.assert_allclose(
        preprocessor.transform(new), reference.transform(new), rtol=1e-6, atol=1e-6
    )


def test_feature_names_name_each_tensor_column(mixed: str) -> None:
    preprocessor, x = fitted(Csv(path=mixed, target="label", max_categories=3))
    assert preprocessor.facts()["feature_names"] == (
        "age", "rooms", "member", "city=Bonn", "city=Köln", "city=(rare)", "grade=A", "grade=B",
    )  # fmt: skip
    assert preprocessor.transform(x).shape == (60, 8)


@pytest.mark.parametrize(
    "options",
    [{}, {"max_categories": 3, "scaling": "robust", "clip": "iqr"}, {"clip": "quantile"}],
)
def test_the_state_is_restored_bit_for_bit(
    options: dict[str, Any], mixed: str, tmp_path: Path
) -> None:
    data = Csv(path=mixed, target="label", **options)
    preprocessor, x = fitted(data)
    preprocessor.save(tmp_path / "state.json")
    restored = data.preprocessor()
    restored.restore(tmp_path / "state.json")
    assert torch.equal(restored.transform(x), preprocessor.transform(x))
    assert restored.facts()["feature_names"] == preprocessor.facts()["feature_names"]


def test_outliers_are_clipped_where_asked(mixed: str) -> None:
    column = frame(Csv(path=mixed, target="label").load())["age"].dropna()
    first, third = np.quantile(column, [0.25, 0.75])
    tops = {
        "none": 900.0,
        "quantile": np.quantile(column, 0.95),
        "iqr": third + 1.5 * (third - first),
    }
    for clip, top in tops.items():
        data = Csv(
            path=mixed, target="label", scaling="none", clip=clip,  # type: ignore[arg-type]
            clip_quantile=0.05, clip_iqr=1.5,
        )  # fmt: skip
        preprocessor, x = fitted(data)
        assert preprocessor.transform(x)[:, 0].max().item() == pytest.approx(top)
        assert preprocessor.transform(x)[:, 1].max().item() == 5  # rooms: no outliers above


def test_iqr_clipping_leaves_rare_events_alone(tmp_path: Path) -> None:
    rows = "\n".join(f"{int(i == 7)},{i % 2}" for i in range(20))
    path = written(tmp_path, f"rare,y\n{rows}\n")
    preprocessor, x = fitted(Csv(path=path, target="y", clip="iqr", scaling="none"))
    assert preprocessor.transform(x)[:, 0].sum().item() == 1


# --- types ---


def test_titanic_ignores_names_tickets_and_cabins_with_a_notice(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Csv(path=str(shared_data / "titanic.csv"), target="Survived")
    with caplog.at_level(logging.WARNING):
        preprocessor, _ = fitted(data)
    assert [record.getMessage() for record in caplog.records] == [
        "columns of free text or identifiers are ignored: Name, Ticket, Cabin; "
        "data.categorical uses them"
    ]
    assert preprocessor.facts()["feature_names"] == (
        "PassengerId", "Pclass", "Age", "SibSp", "Parch", "Fare",
        "Sex=female", "Sex=male", "Embarked=C", "Embarked=Q", "Embarked=S",
    )  # fmt: skip


def test_overrides_win_over_inference(mixed: str) -> None:
    data = Csv(path=mixed, target="label", categorical=("rooms",), ignore=("city", "age"))
    preprocessor, x = fitted(data)
    names = preprocessor.facts()["feature_names"]
    assert names == (
        "member", "rooms=1", "rooms=2", "rooms=3", "rooms=4", "rooms=5", "grade=A", "grade=B",
    )  # fmt: skip
    # A gap makes pandas read whole numbers as floats; they stay the same categories.
    gap = x.iloc[:3].assign(rooms=[2.0, np.nan, 5.0])
    assert preprocessor.transform(gap)[0, names.index("rooms=2")] == 1
    assert preprocessor.transform(gap)[2, names.index("rooms=5")] == 1


def test_a_column_of_numbers_with_some_texts_needs_a_decision(tmp_path: Path) -> None:
    rows = [f"{'unknown' if i in (4, 9, 10) else i},{i % 2}" for i in range(20)]
    path = written(tmp_path, "size,y\n" + "\n".join(rows))
    message = r"'size' mixes 17 numbers and 3 texts \(first text 'unknown'\); .*data\.numerical"
    with pytest.raises(DataError, match=message):
        Csv(path=path, target="y").load()
    preprocessor, x = fitted(Csv(path=path, target="y", numerical=("size",), scaling="none"))
    numbers = [i for i in range(20) if i not in (4, 9, 10)]
    assert preprocessor.transform(x)[4].tolist() == [np.median(numbers)]
    preprocessor, _ = fitted(Csv(path=path, target="y", categorical=("size",)))
    assert "size=unknown" in preprocessor.facts()["feature_names"]


def test_booleans_with_gaps_are_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "flag,y\n" + "True,0\n,1\nFalse,0\nTrue,1\n" * 3)
    preprocessor, x = fitted(Csv(path=path, target="y", scaling="none"))
    assert preprocessor.transform(x)[:4, 0].tolist() == [1, 1, 0, 1]


def test_separator_header_and_encoding(tmp_path: Path) -> None:
    text = "1;Köln;0\n2;Bonn;1\n3;Köln;0\n4;Bonn;1\n"
    (tmp_path / "plain.csv").write_text(text, encoding="latin-1")
    data = Csv(
        path=str(tmp_path / "plain.csv"), target="column_3", separator=";", header=False,
        encoding="latin-1",
    )  # fmt: skip
    preprocessor, _ = fitted(data)
    assert preprocessor.facts()["feature_names"] == ("column_1", "column_2=Bonn", "column_2=Köln")
    tabbed = written(tmp_path, "a\tb\n1\t0\n2\t1\n")
    assert frame(Csv(path=tabbed, target="b", separator="tab").load()).columns.tolist() == ["a"]


@pytest.mark.parametrize("scaling", ["standard", "minmax", "robust", "none"])
def test_preprocessed_rows_are_mapped_back_to_the_table(tmp_path: Path, scaling: Any) -> None:
    rows = [f"{i * 1.5},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(20)]
    path = written(tmp_path, "size,colour,y\n" + "\n".join(rows))
    preprocessor, x = fitted(Csv(path=path, target="y", scaling=scaling))
    assert preprocessor.facts()["feature_groups"] == (1, 2)
    back = preprocessor.invert(preprocessor.transform(x))
    assert isinstance(back, pd.DataFrame)
    assert back["colour"].tolist() == x["colour"].tolist()
    np.testing.assert_allclose(back["size"], x["size"], rtol=1e-6, atol=1e-6)


def test_columns_without_values_are_left_out_with_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "a,void,y\n1,,0\n2,,1\n")
    with caplog.at_level(logging.WARNING):
        preprocessor, _ = fitted(Csv(path=path, target="y"))
    assert preprocessor.facts()["feature_names"] == ("a",)
    assert "columns without values are ignored: void" in caplog.text


# --- targets ---


@pytest.mark.parametrize(
    ("column", "task", "classes"),
    [
        (["no", "yes", "no"], "classification", ("no", "yes")),
        (["True", "False", "True"], "classification", ("False", "True")),
        (["10", "2", "2"], "classification", ("2", "10")),
        (["1.0", "2.0", "1.0"], "classification", ("1", "2")),
        (["0.5", "2.5", "1"], "regression", ()),
        ([str(i) for i in range(21)], "regression", ()),
    ],
)
def test_the_task_follows_from_one_target(
    column: list[str], task: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(column)))
    examples = Csv(path=path, target="y").load()
    assert examples.task == task
    assert examples.class_names == classes
    assert examples.target_names == ("y",)
    assert examples.y is not None
    if classes:
        assert examples.y.dtype == np.int64
        order = {name: index for index, name in enumerate(classes)}
        texts = [text.removesuffix(".0") for text in column]
        assert examples.y.tolist() == [order[text] for text in texts]
    else:
        assert examples.y.tolist() == [[float(text)] for text in column]


def test_several_targets_are_labels_or_values(tmp_path: Path) -> None:
    path = written(tmp_path, "x,a,b,c\n1,0,1,5\n2,1,1,6.5\n3,0,0,7\n")
    labels = Csv(path=path, target=["a", "b"]).load()
    assert (labels.task, labels.class_names) == ("multilabel", ("a", "b"))
    assert labels.y is not None
    assert labels.y.tolist() == [[0, 1], [1, 1], [0, 0]]
    values = Csv(path=path, target=["b", "c"]).load()
    assert (values.task, values.class_names) == ("regression", ())
    assert values.y is not None
    assert values.y.tolist() == [[1, 5], [1, 6.5], [0, 7]]
    assert frame(values).columns.tolist() == ["x", "a"]


def test_the_task_can_be_stated(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\n1,0\n2,1\n3,1\n")
    assert Csv(path=path, target="y", task="regression").load().task == "regression"
    assert Csv(path=path, target="y", task="multilabel").load().class_names == ("y",)


def test_a_table_without_target_is_all_features(tmp_path: Path) -> None:
    examples = Csv(path=written(tmp_path, "a,b\n1,2\n3,4\n")).load()
    assert examples.y is None
    assert frame(examples).columns.tolist() == ["a", "b"]


def test_rows_without_target_are_left_out_when_asked(tmp_path: Path) -> None:
    path = written(tmp_path, "a,y\n1,x\n2,\n3,z\n4,\n")
    with pytest.raises(DataError, match=r"2 of 4 rows lack 'y'.*data\.missing_target=drop"):
        Csv(path=path, target="y").load()
    examples = Csv(path=path, target="y", missing_target="drop").load()
    assert frame(examples)["a"].tolist() == [1, 3]
    assert examples.y is not None
    assert examples.y.tolist() == [0, 1]


def test_rows_with_gaps_are_left_out_or_refused_when_asked(mixed: str) -> None:
    dropping = Csv(path=mixed, target="label", missing="drop")
    preprocessor, x = fitted(dropping)
    assert len(x) == 55
    assert x.notna().all().all()
    # A row to predict is answered all the same: the gap is filled with the training median.
    row = x.iloc[:1].assign(age=np.nan)
    filled = x.iloc[:1].assign(age=x["age"].median())
    assert torch.equal(preprocessor.transform(row), preprocessor.transform(filled))
    with pytest.raises(DataError, match="the column 'age' has 2 missing values, first row 5"):
        fitted(Csv(path=mixed, target="label", missing="error"))


# --- rows to predict ---


def test_rows_to_predict_may_be_reordered_and_have_further_columns(
    mixed: str, tmp_path: Path
) -> None:
    data = Csv(path=mixed, target="label")
    preprocessor, x = fitted(data)
    expected = preprocessor.transform(x)
    table = pd.read_csv(mixed)
    table.drop(columns="label")[["grade", "city", "age", "member", "rooms"]].assign(new="?").to_csv(
        tmp_path / "rows.csv", index=False
    )
    for path in (tmp_path / "rows.csv", Path(mixed)):
        assert torch.equal(preprocessor.transform(data.read(path)), expected)
    with pytest.raises(DataError, match="lack the columns 'age', 'city'; training used"):
        preprocessor.transform(x.drop(columns=["age", "city"]))


def test_rows_without_names_are_taken_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,y\n1,5,0\n2,7,1\n4,9,0\n")
    data = Csv(path=path, target="y")
    preprocessor, x = fitted(data)
    np.save(tmp_path / "rows.npy", x.to_numpy())
    rows = data.read(tmp_path / "rows.npy")
    assert torch.equal(preprocessor.transform(rows), preprocessor.transform(x))
    with pytest.raises(DataError, match=r"the 2 columns a, b in this order; .*\[4, 3\]"):
        preprocessor.transform(np.ones((4, 3)))


@pytest.mark.parametrize(
    ("value", "message"),
    [("abc", "1 of 60 rows hold text, first row 4"), (np.inf, "1 of 60 rows hold infinity")],
)
def test_rows_to_predict_must_hold_numbers_where_training_did(
    value: object, message: str, mixed: str
) -> None:
    preprocessor, x = fitted(Csv(path=mixed, target="label"))
    ages = x["age"].astype(object)
    ages[4] = value
    with pytest.raises(DataError, match=f"the column 'age' must hold .*numbers; {message}"):
        preprocessor.transform(x.assign(age=ages))


# --- bad input: one sentence each ---


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("\n\n", {}, "is empty"),
        ("a,target\n", {}, "holds a header and no rows"),
        ("a,Target\n1,0\n", {}, "lacks; did you mean 'Target'"),
        ("a;target\n1;0\n", {}, r"single column 'a;target'.*data\.separator"),
        ("a,target\n1,0\n1,2,3,4\n", {}, r"is no table .*line 3, saw 4"),
        ("a,target\n1,0,5\n1,2,3\n", {}, "more fields than its header"),
        ("a,target\n1,\n2,\n", {}, "2 of 2 rows lack 'target'"),
        ("a,target\n1,\n2,\n", {"missing_target": "drop"}, "has no values"),
        ("a,target\n1,3\n2,x\n", {}, r"'target' mixes 1 numbers and 1 texts \(first text 'x'\)"),
        ("a,target\n1,u\n2,v\n", {"task": "regression"}, "'target' must hold numbers; 2 of 2"),
        ("a,target\n1,2\n2,1\n", {"task": "multilabel"}, "'target' holds other values"),
        ("a,target\ninf,2\n2,1\n", {}, "'a' must hold finite numbers; 1 of 2"),
        ("a,target\n,2\n,1\n", {}, "no column is left to learn from"),
        ("a,b,target\n1,,2\n,2,1\n", {"missing": "drop"}, "no row .* free of missing values"),
        ("a,target\n1,2\n2,1\n", {"ignore": ["b"]}, r"data\.ignore names the column 'b'"),
        ("a,target\nu,2\nv,1\n", {"numerical": ["a"]}, "which holds no numbers"),
        ("a,b,target\n1,2,0\n", {"target": ["a", "b"], "task": "classification"}, "needs one"),
    ],
)
def test_a_bad_table_is_told_in_one_sentence(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        Csv(path=path, **{"target": "target", **options}).load()
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_directory_and_other_encodings_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file is at '.*none\.csv'"):
        Csv(path=str(tmp_path / "none.csv"), target="y").load()
    with pytest.raises(DataError, match="a directory is at"):
        Csv(path=str(tmp_path), target="y").load()
    (tmp_path / "latin.csv").write_bytes("a,y\nKöln,1\n".encode("latin-1"))
    for encoding in ("utf-8", "martian"):
        with pytest.raises(DataError, match=rf"not {encoding} text; state its data\.encoding"):
            Csv(path=str(tmp_path / "latin.csv"), target="y", encoding=encoding).load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, r"data\.separator must be one character"),
        ({"target": "a", "ignore": ["a"]}, r"'a' is listed under data\.target and data\.ignore"),
        ({"numerical": ["b"], "categorical": ["b"]}, r"data\.numerical and data\.categorical"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Csv(path="table.csv", **options)
