"""Bundled data sets and the standardization."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from dlframe.components.data import COMPONENTS, bundled
from dlframe.components.data.standardize import Standardize
from dlframe.config.options import REQUIRED
from dlframe.config.signature import load
from dlframe.errors import DataError
from dlframe.interfaces import Data
from dlframe.plugin import registry

# --- descriptors and bundled sets ---


def test_every_descriptor_leads_to_data_of_its_kind_of_input() -> None:
    for component in COMPONENTS:
        options = load(registry().find("data", f"dlframe/{component.name}")).options
        needed = [option.name for option in options if option.default is REQUIRED]
        data = component.load()(**dict.fromkeys(needed, "somewhere"))
        assert isinstance(data, Data)
        assert data.input in component.inputs


@pytest.mark.parametrize(
    ("name", "shape", "classes", "features"),
    [
        ("digits", (1797, 1, 8, 8), 10, 0),
        ("iris", (150, 4), 3, 4),
        ("wine", (178, 13), 3, 13),
        ("breast_cancer", (569, 30), 2, 30),
        ("diabetes", (442, 10), 0, 10),
    ],
)
def test_bundled_sets_have_their_known_shapes(
    name: str, shape: tuple[int, ...], classes: int, features: int
) -> None:
    data: Data = getattr(bundled, name)()
    examples = data.load()
    assert examples.x.shape == shape
    assert examples.y is not None
    assert examples.y.shape == shape[:1]
    assert examples.y.dtype == (np.int64 if classes else np.float64)
    assert len(examples.class_names) == classes
    assert len(examples.feature_names) == features
    (component,) = (component for component in COMPONENTS if component.name == name)
    assert component.tasks == (examples.task,)
    preprocessor = data.preprocessor()
    preprocessor.fit(examples.x)
    x = preprocessor.transform(examples.x)
    assert x.shape == shape
    assert x.dtype == torch.float32
    assert preprocessor.facts().get("feature_names", ()) == examples.feature_names


def test_bundled_values_are_those_of_the_published_sets() -> None:
    iris = bundled.iris().load()
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert isinstance(iris.x, pd.DataFrame)
    np.testing.assert_array_equal(iris.x.iloc[0], [5.1, 3.5, 1.4, 0.2])
    diabetes = bundled.diabetes().load()
    assert diabetes.y is not None
    assert (diabetes.y.min(), diabetes.y.max()) == (25, 346)
    assert isinstance(diabetes.x, pd.DataFrame)
    assert diabetes.x["age"].between(19, 79).all()  # years, not scikit-learn's scaled version


# --- Standardize ---


def test_standardize_matches_scikit_learn_and_centres_a_constant() -> None:
    x = np.random.default_rng(0).normal(3, 2, (2500, 3))
    x[:, 2] = 0.1
    preprocessor = Standardize()
    preprocessor.fit(x)
    expected = StandardScaler().fit_transform(x)
    expected[:, 2] = 0
    np.testing.assert_allclose(preprocessor.transform(x), expected, atol=2e-6)


def test_standardize_has_one_mean_per_channel_of_images_and_feature_of_sequences() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 5, 4), dtype=np.uint8)
    images[:, 1] //= 4
    preprocessor = Standardize()
    preprocessor.fit(images)
    x = preprocessor.transform(images)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3))
    flat = preprocessor.transform(images.reshape(30, -1))
    assert torch.equal(flat, x)
    with pytest.raises(DataError, match=r"of shape \[3, 5, 4\]; got rows of shape \[5, 4, 3\]"):
        preprocessor.transform(images.transpose(0, 2, 3, 1))  # as many numbers, in another order

    sequences = images.astype(np.float64).transpose(0, 2, 3, 1).reshape(30, 20, 3)
    preprocessor.fit(sequences)
    x = preprocessor.transform(sequences)
    torch.testing.assert_close(x.std((0, 1), correction=0), torch.ones(3))


@pytest.mark.parametrize("as_table", [True, False])
def test_standardize_is_restored_bit_for_bit(as_table: bool, tmp_path: Path) -> None:
    x: Any = np.random.default_rng(1).normal(size=(40, 3)) * 1e3
    x = pd.DataFrame(x, columns=["a", "b", "c"]) if as_table else x
    fitted, restored = Standardize(), Standardize()
    fitted.fit(x)
    fitted.save(tmp_path / "state.json")
    restored.restore(tmp_path / "state.json")
    assert torch.equal(fitted.transform(x), restored.transform(x))
    assert restored.facts() == ({"feature_names": ("a", "b", "c")} if as_table else {})


def test_standardize_finds_columns_by_name() -> None:
    x = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [10.0, 0.0, 5.0]})
    preprocessor = Standardize()
    preprocessor.fit(x)
    shuffled = pd.DataFrame({"other": ["x", "y", "z"], "b": x["b"], "a": x["a"]})
    assert torch.equal(preprocessor.transform(shuffled), preprocessor.transform(x))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pd.DataFrame({"a": [1.0]}), "lack the columns 'b'"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "numbers only"),
        (np.ones((2, 3)), "hold 2 numbers"),
        (np.float64(1.0), "hold 2 numbers"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "1 of 2 rows hold NaN or infinity, first row 1"),
    ],
)
def test_standardize_refuses_rows_that_do_not_fit(rows: Any, message: str) -> None:
    preprocessor = Standardize()
    preprocessor.fit(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    with pytest.raises(DataError, match=message):
        preprocessor.transform(rows)
