"""One value against one type: what is converted, what is refused, and how both are told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import MaxLen

from dlframe.config.options import REQUIRED, Option, base_type, check, describe, is_supported
from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Gt, Le, Lt, Normalization, PositiveInt, Range, Strength

Size = PositiveInt | Literal["all"]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (1e-3, float, 1e-3),
        (float("inf"), float, float("inf")),
        (True, bool, True),
        ("relu", str, "relu"),
        (5, str, "5"),
        ("a/b", Path, Path("a/b")),
        (None, None, None),
        (None, int | None, None),
        ("all", Size, "all"),
        (64, Size, 64),
        (7, str | int, 7),
        ("7", str | int, "7"),
        ([1, 2], list[int], [1, 2]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([0.9, 1], tuple[float, float], (0.9, 1.0)),
        ([], tuple[int, ...], ()),
        ([1, "a"], list, [1, "a"]),
        ([1, 2], Sequence[float], [1.0, 2.0]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [1]}, Mapping[str, list[int]], {"a": [1]}),
        ({"a": object}, dict, {"a": object}),
        ("batch", Normalization, "batch"),
        (object, Any, object),
        (0.5, Annotated[float, Gt(0), Lt(1), Range(0.1, 0.9)], 0.5),
        (0, Strength, 0.0),
    ],
)
def test_a_value_that_fits_is_converted(value: Any, hint: Any, expected: Any) -> None:
    held = check("key", value, hint)
    assert held == expected
    assert type(held) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("x", int, "key must be int; got 'x' (str)"),
        ("xxx", Annotated[str, MaxLen(2)],
         "key must be str of at most 2 characters; got 'xxx' (str)"),
        (1.5, int, "key must be int; got 1.5 (float)"),
        (1.0, int, "key must be int; got 1.0 (float)"),
        (True, int, "key must be int; got True (bool)"),
        (True, float, "key must be float; got True (bool)"),
        (True, str, "key must be str; got True (bool)"),
        (1, bool, "key must be bool; got 1 (int)"),
        (None, float, "key must be float; got null"),
        ("1", float, "key must be float; got '1' (str)"),
        (float("nan"), float, "key must be float; got nan (float)"),
        (5, None, "key must be null; got 5 (int)"),
        (0, Annotated[float, Gt(0)], "key must be float > 0; got 0 (int)"),
        (1.5, Annotated[float, Ge(0), Le(1)], "key must be float >= 0 and <= 1; got 1.5 (float)"),
        (1, Annotated[float, Ge(0), Lt(1)], "key must be float >= 0 and < 1; got 1 (int)"),
        ("al", Size, "key must be int >= 1 | all; got 'al' (str); did you mean 'all'?"),
        (0, Size, "key must be int >= 1 | all; got 0 (int)"),
        (2.5, int | list[int], "key must be int | list of int; got 2.5 (float)"),
        (3, list[int], "key must be list of int; got 3 (int); write a list as [a,b]"),
        (["a"], list[int], "key must be list of int; got ['a'] (list)"),
        ([1], tuple[int, int], "key must be [int, int]; got [1] (list)"),
        ([1], dict[str, int], "key must be mapping of int; got [1] (list)"),
        ({"a": "b"}, dict[str, int], "key must be mapping of int; got {'a': 'b'} (dict)"),
        (
            "layr", Normalization,
            "key must be none | batch | layer | group | instance; got 'layr' (str); did you mean "
            "'layer'?",
        ),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check("key", value, hint)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Any, "any"),
        (int | None, "int | null"),
        (Annotated[float, Gt(0), Range(1e-5, 1.0)], "float > 0"),
        (tuple[float, float], "[float, float]"),
        (tuple[PositiveInt, ...], "list of int >= 1"),
        (dict[str, Any], "mapping of any"),
        (Literal["a", None], "a | null"),
        (Path, "path"),
        (list, "list"),
    ],
)
def test_types_are_told_in_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, (int, False)),
        (float | None, (float, True)),
        (Annotated[float, Gt(0)] | None, (float, True)),
        (Literal["a", "b"], (str, False)),
        (Literal["a", 1], (Any, False)),
        (Literal["a", None], (str, True)),
        (int | str, (Any, False)),
        (list[int], (Any, False)),
        (Any, (Any, True)),
        (None, (Any, True)),
    ],
)
def test_the_typed_node_of_a_hint(hint: Any, expected: tuple[Any, bool]) -> None:
    assert base_type(hint) == expected


@pytest.mark.parametrize(
    "hint", [int, Any, None, Path, list[int], tuple[int, ...], dict[str, float], Size, Strength]
)
def test_what_a_config_can_hold(hint: Any) -> None:
    assert is_supported(hint)


@pytest.mark.parametrize(
    "hint", [object, bytes, list[bytes], type, Annotated[bytes, 1], int | bytes, Literal[b"a"]]
)
def test_what_a_config_cannot_hold(hint: Any) -> None:
    assert not is_supported(hint)


def test_an_option_knows_where_to_search() -> None:
    assert Option("x", Strength).range == Range(1e-6, 1e-1, log=True)
    assert Option("x", Strength | None).range == Range(1e-6, 1e-1, log=True)
    assert Option("x", float).range is None
    assert Option("x", float).default is REQUIRED


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0)])
def test_an_empty_range_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        Range(*limits)
    with pytest.raises(ValueError, match="low > 0 with log"):
        Range(0.0, 1.0, log=True)
