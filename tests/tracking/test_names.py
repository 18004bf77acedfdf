import json

import pytest

from dlframe.tracking import names


@pytest.mark.parametrize(
    "good", ["loss", "val/loss", "a.b-c d:e_f", "größe", "x" * 250, "a/.b", "v1..2"]
)
def test_names_that_mlflow_takes_stay(good: str) -> None:
    assert names.name(good) == good


@pytest.mark.parametrize(
    "bad",
    ["acc@5", "a//b", "/a", "a/", "../a", "a/../b", ".", "", "x" * 251, "a\nb", "loss (%)", "☃"],
)
def test_names_that_mlflow_refuses_are_changed_so_that_it_takes_them(bad: str) -> None:
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name

    fitted = names.name(bad)
    assert fitted != bad
    assert len(fitted) <= MAX_ENTITY_KEY_LENGTH
    _validate_metric_name(fitted)  # type: ignore[no-untyped-call]
    assert names.name(fitted) == fitted


def test_two_refused_names_stay_two() -> None:
    assert len({names.name(n) for n in ("a@b", "a#b", "a_b", "a?b")}) == 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1e-4, "0.0001"),
        (True, "True"),
        (None, "None"),
        ("s", "s"),
        ([1, "a"], '[1, "a"]'),
        ("/tmp/caf\udce9", r"/tmp/caf\udce9"),
        ("a\0b", r"a\x00b"),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    assert names.text(value) == text


def test_lists_can_be_read_back() -> None:
    assert json.loads(names.text([0.1, 2])) == [0.1, 2]
