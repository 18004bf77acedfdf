"""Texts as data: tokens, cut and padded; CSV files and plain files; everything that can be wrong."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

import dlframe
from dlframe.components.data.text import Text, TextCsv
from dlframe.components.data.tokenize import Tokenize
from dlframe.components.data.vocabulary import make_vocabulary
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import DataOptions, Examples, Preprocessor
from dlframe.training.predictor import Predictor
from dlframe.training.splits import load_splits

Kind = Literal["word", "character", "byte", "bpe"]
KINDS: tuple[Kind, ...] = ("word", "character", "byte", "bpe")

PROSE = (
    "It was a dark and stormy night NA; the rain fell in torrents.\n\n  Except at occasional "
    "intervals, when it was checked by a violent gust of wind (for it is in London that our scene "
    "lies),\trattling along the house-tops.\nÆneas, naïve as ever, drank café au lait; 日本語 is "
    "a language. "
) * 8


def written(folder: Path, text: str, name: str = "texts.csv", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def frame(examples: Examples) -> pd.DataFrame:
    assert isinstance(examples.x, pd.DataFrame)
    return examples.x


def tokenize(**options: Any) -> Tokenize:
    defaults: dict[str, Any] = {
        "tokenizer": "word", "vocabulary_size": 1000, "min_frequency": 1, "lowercase": False,
        "max_length": None, "truncation": "end",
    }  # fmt: skip
    return Tokenize(**{**defaults, **options})


def fitted(texts: list[str], **options: Any) -> Tokenize:
    made = tokenize(**options)
    made.fit(pd.DataFrame({"text": texts}, dtype=str))
    return made


def tokens(preprocessor: Preprocessor, *texts: str) -> list[list[int]]:
    """Tokens of texts without padding."""
    rows = preprocessor.transform(np.array(texts, dtype=object))
    return [row[row != 0].tolist() for row in rows]


def shown(preprocessor: Preprocessor, rows: Tensor) -> list[str]:
    table = preprocessor.invert(rows)
    assert isinstance(table, pd.DataFrame)
    return list(table.iloc[:, 0])


# --- tokens --------------------------------------------------------------------------------------


def test_bytes_are_those_of_utf8_moved_up_by_two() -> None:
    made = fitted(["Köln", "Bonn"], tokenizer="byte")
    assert tokens(made, "Köln") == [[byte + 2 for byte in "Köln".encode()]]
    assert made.facts() == {"vocabulary_size": 258, "characters_per_token": 8 / 9}


def test_characters_are_numbered_by_code_point_and_the_rarest_unknown() -> None:
    made = fitted(["abracadabra", "zebra"], tokenizer="character", min_frequency=2)
    assert made.facts()["vocabulary_size"] == 2 + len("abr")  # c, d, z and e occur once each
    assert tokens(made, "bar", "cab") == [[3, 2, 4], [1, 2, 3]]
    most = fitted(["abracadabra", "zebra"], tokenizer="character", vocabulary_size=4)
    assert most.facts()["vocabulary_size"] == 4
    assert tokens(most, "abr") == [[2, 1, 3]] or tokens(most, "abr") == [[2, 3, 1]]
    assert tokens(most, "abr") == [[2, 3, 1]]  # b and r are equally common: the first is kept


def test_words_are_those_that_scikit_learn_counts() -> None:
    texts = PROSE.splitlines()
    made = fitted(texts, lowercase=True, min_frequency=8, vocabulary_size=10_000)
    reference = CountVectorizer(token_pattern=r"\w+|[^\w\s]").fit(texts)
    counts = np.asarray(reference.transform(texts).sum(axis=0))[0]
    often = {word for word, i in reference.vocabulary_.items() if counts[i] >= 8}
    assert made.facts()["vocabulary_size"] == 2 + len(often)
    split = reference.build_tokenizer()(texts[0].lower())
    assert shown(made, made.transform(np.array([texts[0]]))) == [
        " ".join(word if word in often else "\ufffd" for word in split)
    ]


def test_byte_pairs_are_merged_by_frequency() -> None:
    made = fitted(["low low low lowest lower"], tokenizer="bpe", vocabulary_size=260)
    # Two merges: l+o, then lo+w (both occur five times; " l" does four times).
    assert tokens(made, "low")[0] == [259]
    assert len(tokens(made, "lo")[0]) == 1
    assert len(tokens(made, "wol")[0]) == 3


@pytest.mark.parametrize("kind", ["character", "byte", "bpe"])
def test_texts_come_back_unchanged(kind: Kind) -> None:
    made = fitted([PROSE], tokenizer=kind, vocabulary_size=300)
    assert shown(made, made.transform(np.array([PROSE]))) == [PROSE]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_in_any_order_give_the_same_vocabulary(kind: Kind, tmp_path: Path) -> None:
    texts = [f"{line} {number}" for number, line in enumerate(PROSE.splitlines())]
    states = []
    for order in (texts, texts[::-1]):
        made = fitted(order, tokenizer=kind, vocabulary_size=300)
        made.save(tmp_path / "state")
        states.append((tmp_path / "state").read_text())
        restored = tokenize(tokenizer=kind, vocabulary_size=300)
        restored.restore(tmp_path / "state")
        rows = np.array([PROSE, "", "never seen: ÿ 🙂"], dtype=object)
        assert torch.equal(restored.transform(rows), made.transform(rows))
        assert restored.facts() == made.facts()
        assert restored.columns() == ("text",)
    assert json.loads(states[0]) == json.loads(states[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_did_not_see_has_a_defined_token(kind: Kind) -> None:
    made = fitted(["a b c d e f", "a b"], tokenizer=kind, vocabulary_size=300)
    new = tokens(made, "🙂")[0]
    assert new == [1] if kind in ("word", "character") else len(new) == 4 and 1 not in new
    unpaired = tokens(made, "a\ud83d")  # half of a character, as broken JSON has it
    assert unpaired == tokens(made, "a?")


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_can_spell_padding_or_the_unknown_token(kind: Kind) -> None:
    vocabulary = make_vocabulary(kind, 300, 1)
    vocabulary.fit(["<padding> a \ufffd"])
    assert 0 not in vocabulary.encode(["<padding>", "[PAD]", "<pad>", "\ufffd", "\0"])[0]


def test_the_length_is_that_of_the_longest_training_text() -> None:
    made = fitted(["a b c", "a"])
    assert made.transform(np.array(["c"])).tolist() == [[4, 0, 0]]
    assert made.transform(np.array(["a b c b a"])).tolist() == [[2, 3, 4]]
    start = fitted(["a b c", "a"], truncation="start")
    assert start.transform(np.array(["a b c b a"])).tolist() == [[4, 3, 2]]
    short = fitted(["a b c", "a"], max_length=2)
    assert short.transform(np.array(["a b c", "b"])).tolist() == [[2, 3], [3, 0]]
    assert made.transform(np.array([], dtype=str)).shape == (0, 3)


def test_lowercase_joins_words() -> None:
    assert fitted(["Der der DER"]).facts()["vocabulary_size"] == 5
    made = fitted(["Der der DER"], lowercase=True)
    assert made.facts()["vocabulary_size"] == 3
    assert tokens(made, "dEr") == [[2]]


def test_composed_and_decomposed_letters_are_the_same_word() -> None:
    made = fitted(["caf\u00e9"])
    assert tokens(made, "cafe\u0301") == [[2]]


# --- CSV files -----------------------------------------------------------------------------------


def test_columns_are_joined_and_gaps_are_empty_texts(tmp_path: Path) -> None:
    path = written(tmp_path, "title,body,y\nRain,all day,1\nNA,,0\n007,null,1\n")
    examples = TextCsv(path=path, target="y").load()
    x = frame(examples)
    assert x.to_numpy().tolist() == [["Rain", "all day"], ["NA", ""], ["007", "null"]]
    assert (examples.task, examples.class_names) == ("classification", ("0", "1"))
    preprocessor = TextCsv(path=path, target="y", min_frequency=1).preprocessor()
    preprocessor.fit(x)
    assert preprocessor.columns() == ("title", "body")
    assert shown(preprocessor, preprocessor.transform(x)) == ["rain all day", "na", "007 null"]
    missing = pd.DataFrame({"title": ["Rain", None], "body": [np.nan, "day"]})
    assert shown(preprocessor, preprocessor.transform(missing)) == ["rain", "day"]


def test_targets_may_be_classes_labels_or_values(tmp_path: Path) -> None:
    path = written(tmp_path, "t,a,b,c\nx,0,1,0.5\ny,1,1,7\nz,0,0,2\n")
    classes = TextCsv(path=path, text="t", target="a").load()
    assert classes.y is not None
    assert (classes.task, classes.y.tolist()) == ("classification", [0, 1, 0])
    labels = TextCsv(path=path, text="t", target=["a", "b"]).load()
    assert (labels.task, labels.class_names) == ("multilabel", ("a", "b"))
    values = TextCsv(path=path, text="t", target="c").load()
    assert values.y is not None
    assert (values.task, values.y.tolist()) == ("regression", [[0.5], [7.0], [2.0]])
    assert frame(values).columns.tolist() == ["t"]
    assert TextCsv(path=path, text="t").load().y is None


def test_files_without_header_quotes_or_commas_and_of_other_encodings(tmp_path: Path) -> None:
    text = '1\tso "good\n2\tnaïve\n1\tgut\n'
    path = written(tmp_path, text, encoding="latin-1")
    options: dict[str, Any] = {
        "header": False, "separator": "tab", "quotes": False, "target": "column_1",
        "encoding": "latin-1",
    }  # fmt: skip
    examples = TextCsv(path=path, **options).load()
    assert frame(examples)["column_2"].tolist() == ['so "good', "naïve", "gut"]
    assert examples.y is not None
    assert examples.y.tolist() == [0, 1, 0]
    for encoding in ("utf-8", "martian"):
        with pytest.raises(DataError, match=rf"not {encoding} text; state its data\.encoding"):
            TextCsv(path=path, **{**options, "encoding": encoding}).load()


def test_rows_without_target_are_refused_or_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "t,y\ngood,1\nbad,\nNA,0\n")
    with pytest.raises(DataError, match="1 of 3 rows lack 'y'"):
        TextCsv(path=path, target="y").load()
    examples = TextCsv(path=path, target="y", missing_target="drop").load()
    assert frame(examples)["t"].tolist() == ["good", "NA"]


def test_rows_to_predict_may_be_reordered_and_have_further_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "title,body,y\n" + "rain,all day,1\nsun,at last,0\n" * 3)
    data = TextCsv(path=path, target="y")
    preprocessor = data.preprocessor()
    preprocessor.fit(frame(data.load()))
    expected = preprocessor.transform(frame(data.load()))[:2]
    other = written(tmp_path, "new,body,title\n1,all day,rain\n2,at last,sun\n", "new.csv")
    assert torch.equal(preprocessor.transform(data.read(Path(other))), expected)
    pairs: NDArray[Any] = np.array([["rain", "all day"], ["sun", "at last"]])
    assert torch.equal(preprocessor.transform(pairs), expected)
    whole = np.array(["rain\nall day", "sun\nat last"])
    assert torch.equal(preprocessor.transform(whole), expected)
    np.save(tmp_path / "rows.npy", pairs)
    assert torch.equal(preprocessor.transform(data.read(tmp_path / "rows.npy")), expected)
    lacking = written(tmp_path, "body\nall day\n", "lacking.csv")
    with pytest.raises(DataError, match="lack the columns 'title'; training read texts from"):
        preprocessor.transform(data.read(Path(lacking)))


@pytest.mark.parametrize("rows", [np.ones((3, 2)), np.array([["a"]]), np.array([[["a"]]])], ids=str)
def test_arrays_that_are_no_texts_are_refused(rows: NDArray[Any]) -> None:
    made = tokenize()
    made.fit(pd.DataFrame({"a": ["x"], "b": ["y"]}))
    with pytest.raises(DataError, match=r"must be texts .*the 2 columns 'a', 'b' in this order"):
        made.transform(rows)


def test_a_single_word_is_a_vocabulary(tmp_path: Path) -> None:
    path = written(tmp_path, "t,y\n" + "yes,1\nyes yes,0\n" * 20)
    splits = load_splits(
        TextCsv(path=path, target="y"), DataOptions(batch_size=8), "auto", unsupervised=False
    )
    assert splits.spec.vocabulary_size == 3
    assert splits.spec.input_shape == (2,)
    assert splits.spec.feature_names == ()


def test_the_vocabulary_is_that_of_the_training_rows(shared_data: Path) -> None:
    data = TextCsv(
        path=str(shared_data / "ag_news" / "news.csv"), header=False, target="column_1"
    )  # fmt: skip
    options = DataOptions(limit=1000)
    splits = load_splits(data, options, "auto", unsupervised=False)
    assert splits.spec.class_names == ("1", "2", "3", "4")
    x = frame(data.load()).iloc[splits.train.rows]
    texts = (x["column_2"] + "\n" + x["column_3"]).tolist()
    reference = CountVectorizer(token_pattern=r"\w+|[^\w\s]").fit(texts)
    counts = np.asarray(reference.transform(texts).sum(axis=0))[0]
    assert splits.spec.vocabulary_size == 2 + int((counts >= 2).sum())
    longest = max(len(reference.build_tokenizer()(text)) for text in texts)
    assert splits.spec.input_shape == (min(256, longest),)
    again = load_splits(data, options, "auto", unsupervised=False)
    assert torch.equal(splits.test.x, again.test.x)


def test_a_trained_model_answers_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{i},a good film,yes\n{i},no good at all,no\n" for i in range(40)]
    written(tmp_path, "id,review,liked\n" + "".join(lines))
    run = dlframe.train(
        "data=text_csv", "data.path=texts.csv", "data.text=review", "data.target=liked",
        "data.batch_size=8", "architecture=bag_of_embeddings", "optimizer.lr=0.05",
        "trainer.max_epochs=3", "tracking.enabled=false",
    )  # fmt: skip
    assert run.metrics["test/accuracy"] == 1.0
    model = Predictor.from_folder(run.folder)
    assert model.predict(["a film", "not at all"]).tolist() == ["yes", "no"]
    odd = model.outputs(["", "never seen", "a good film " * 50])
    assert odd.shape == (3, 2)
    assert odd.isfinite().all()
    torch.testing.assert_close(odd[0], model.outputs(pd.DataFrame({"review": [None]}))[0])
    written(tmp_path, 'more,review\n1,at all\n2,""\n', "rows.csv")
    assert len(model.predict_frame(model.read(tmp_path / "rows.csv"))) == 2
    written(tmp_path, "text\nat all\n", "rows.csv")
    with pytest.raises(DataError, match="the rows lack the columns 'review'"):
        model.predict(model.read(tmp_path / "rows.csv"))


# --- plain files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_of_a_text_is_predicted_once(kind: Kind, tmp_path: Path) -> None:
    path = written(tmp_path, PROSE, "prose.txt")
    data = Text(path=path, block=40, tokenizer=kind, vocabulary_size=400)
    preprocessor = data.preprocessor()
    preprocessor.fit(data.load().x)
    rows = [row[row != 0] for row in preprocessor.transform(data.load().x)]
    whole = Tokenize(
        tokenizer=kind, vocabulary_size=400, min_frequency=1, lowercase=False, max_length=None,
        truncation="end",
    )  # fmt: skip
    preprocessor.save(tmp_path / "state")
    whole.restore(tmp_path / "state")
    whole._length = 10_000
    (expected,) = tokens(whole, PROSE)
    predicted = [int(rows[0][0]), *(int(token) for row in rows for token in row[1:])]
    assert len(rows) > 40
    assert predicted == expected
    assert all(before[-1] == after[0] for before, after in pairwise(rows))


def test_blocks_follow_each_other_in_the_parts(tmp_path: Path) -> None:
    path = written(tmp_path, PROSE, "prose.txt")
    data = Text(path=path, block=32)
    examples = data.load()
    assert examples.spans is not None
    assert "".join(frame(examples)["text"]) == PROSE
    assert examples.spans[0].tolist() == [0, 31]
    assert (examples.spans[1:, 0] == examples.spans[:-1, 1] + 1).all()
    splits = load_splits(data, DataOptions(batch_size=8), "", unsupervised=True)
    assert splits.spec.input_shape == (33,)
    assert splits.train.rows[-1] < splits.val.rows[0]
    assert splits.val.rows[-1] < splits.test.rows[0]
    assert sum(splits.summary["sizes"].values()) == len(frame(examples))


def test_folders_and_patterns_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    names = {"b.txt": "bbbb", "a.txt": "aaaaa", "sub/c.txt": "cc", "d.md": "dd", "e.txt": ""}
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    folder = frame(Text(path=str(tmp_path), block=4).load())
    assert folder["text"].tolist() == ["aaaa", "a", "bbbb", "cc"]
    assert folder["before"].tolist() == ["", "aaaa", "", ""]
    pattern = frame(Text(path=str(tmp_path / "*.md"), block=4).load())
    assert pattern["text"].tolist() == ["dd"]


def test_prompts_need_no_text_before_them(tmp_path: Path) -> None:
    data = Text(path=written(tmp_path, PROSE, "prose.txt"), block=16)
    preprocessor = data.preprocessor()
    preprocessor.fit(data.load().x)
    prompt = "a dark and stormy night"
    for rows in (np.array([prompt]), pd.DataFrame({"text": [prompt]})):
        assert shown(preprocessor, preprocessor.transform(rows)) == [prompt[-17:]]
    written(tmp_path, "text\nNA\n", "rows.csv")
    assert shown(preprocessor, preprocessor.transform(data.read(tmp_path / "rows.csv"))) == ["NA"]
    lines = data.read(Path(written(tmp_path, "a dark\n\nand stormy\n", "prompts.txt")))
    assert shown(preprocessor, preprocessor.transform(lines)) == ["a dark", "and stormy"]
    with pytest.raises(DataError, match="holds no text; write one text to go on from on each line"):
        data.read(Path(written(tmp_path, "\n", "prompts.txt")))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffabcd", "bom.txt")
    assert frame(Text(path=path).load())["text"].tolist() == ["abcd"]


# --- bad input: one sentence each ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("t,y\n", {}, "holds a header and no rows"),
        ("t,Y\na,1\n", {}, r"data\.target names the column 'y', which the table lacks"),
        ("t,y\na,1\n", {"text": "T"}, r"data\.text names the column 'T', which the table lacks"),
        ("y\n1\n0\n", {}, "no column .* is left for the texts"),
        ("t,y\na,\nb,\n", {"missing_target": "drop"}, "'y' has no values"),
        ("t,y\na,1\nb,1,2,3\n", {}, "is no table"),
    ],
)
def test_a_bad_table_of_texts_is_told_in_one_sentence(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        TextCsv(path=path, **{"target": "y", **options}).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["", "  "], {}, "the training part holds no text: all 2 rows are empty"),
        (["a", "b"], {"min_frequency": 2}, r"no word occurs data\.min_frequency=2 times"),
        (["a", "b"], {"min_frequency": 2, "tokenizer": "character"}, "no character occurs"),
    ],
)
def test_texts_that_give_no_token_are_refused(
    texts: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fitted(texts, **options)


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.vocabulary_size must be at least 258"):
        TextCsv(path="x.csv", tokenizer="bpe", vocabulary_size=100)
    with pytest.raises(ConfigError, match=r"'a' is listed under data\.text and data\.target"):
        TextCsv(path="x.csv", text="a", target="a")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.txt", "no file is at .*none.txt"),
        ("empty", "holds no .txt file; give a pattern"),
        ("blank.txt", "holds no text"),
        ("latin.txt", r"latin.txt' is not utf-8 text; state its data\.encoding"),
    ],
)
def test_bad_files_of_text_are_told_in_one_sentence(
    path: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("Köln".encode("latin-1"))
    with pytest.raises(DataError, match=message):
        Text(path=str(tmp_path / path)).load()
