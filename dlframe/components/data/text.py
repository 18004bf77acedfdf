"""Texts as data: a column of a CSV file with targets, or plain files cut into blocks."""

import csv
import glob
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd

from dlframe.components.data.columns import check_known
from dlframe.components.data.table_file import TableFile, rows_with_targets
from dlframe.components.data.targets import encode_targets
from dlframe.components.data.tokenize import Tokenize
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import Ge, PositiveInt, Range
from dlframe.interfaces.spec import InputKind

__all__ = ["Text", "TextCsv"]

_TEXT, _BEFORE = "text", "before"


class TextCsv(Data):
    """Texts from a CSV file: one row per example, one or more columns of text, others as targets.

    Texts become tokens ``[T]`` int64: padding is 0, what the training rows do not have is 1. Several
    columns of text are joined, each on a line of its own. Texts are taken as the file has them (``NA``
    and ``007`` are texts), and an empty field is an empty text.

    Args:
        path: the file.
        text: name of the column of texts, or a list of names; null takes all but the targets.
        target: name of the target column, or a list of names; null for tasks without labels.
        task: what the target is for. ``auto``: strings, booleans and whole numbers with at most 20
            distinct values are classes, other numbers regression; several columns of 0 and 1 are
            labels (multilabel), several of other numbers regression.
        separator: the character between fields; ``tab`` is the tabulator.
        header: whether the first row holds the columns' names; else they are ``column_1``,
            ``column_2`` and so on, and rows to predict need every column in its place.
        encoding: the file's character encoding.
        quotes: whether double quotes around a field are no part of it; false takes them as any other
            character.
        missing_target: what becomes of rows without target: ``error`` or ``drop``.
        tokenizer: what a token is: ``word`` (also each punctuation mark), ``character``, ``byte`` (of
            UTF-8) or ``bpe`` (byte-pair encoding, learned from the training rows).
        vocabulary_size: most tokens, padding and the unknown one among them; ``byte`` has 258.
        min_frequency: words and characters that occur less often in the training texts are unknown;
            ``bpe`` does not merge such pairs.
        lowercase: turn capital letters into small ones.
        max_length: most tokens of a text; longer ones are cut.
        truncation: which end of a longer text is cut off.

    Raises:
        ConfigError: options that exclude each other.
        DataError: the file is missing, broken, or not what the options say.
    """

    input: InputKind = "tokens"

    def __init__(
        self,
        *,
        path: str,
        text: str | list[str] | None = None,
        target: str | list[str] | None = None,
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
        separator: str = ",",
        header: bool = True,
        encoding: str = "utf-8",
        quotes: bool = True,
        missing_target: Literal["error", "drop"] = "error",
        tokenizer: Literal["word", "character", "byte", "bpe"] = "word",
        vocabulary_size: Annotated[int, Ge(3), Range(1000, 50000, log=True)] = 20000,
        min_frequency: PositiveInt = 2,
        lowercase: bool = True,
        max_length: PositiveInt = 256,
        truncation: Literal["end", "start"] = "end",
    ) -> None:
        self._path = Path(path).expanduser()
        self._texts = [text] if isinstance(text, str) else list(text or ())
        self._targets = [target] if isinstance(target, str) else list(target or ())
        self._task = task
        self._file = TableFile(separator, header, encoding)
        self._quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        self._missing_target = missing_target
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._min_frequency = min_frequency
        self._lowercase = lowercase
        self._max_length = max_length
        self._truncation = truncation
        for name in self._texts:
            if name in self._targets:
                raise ConfigError(
                    f"the column {name!r} is listed under data.text and data.target; list it once"
                )
        self.preprocessor()  # refuses a vocabulary that cannot be

    def load(self) -> Examples:
        """Read the file and encode the targets; texts stay as they are."""
        table = self._read(self._path, self._targets)
        check_known(self._texts, table.columns, "data.text")
        texts = self._texts or [name for name in table.columns if name not in self._targets]
        if not texts:
            raise DataError(
                f"no column of {str(self._path)!r} is left for the texts; data.target names all, or "
                "data.separator is wrong"
            )
        keep = rows_with_targets(table, self._targets, self._missing_target)
        table = table[keep].reset_index(drop=True)
        if not self._targets:
            return Examples(x=table[texts], y=None, task="")
        targets = encode_targets(table[self._targets], self._task)
        return Examples(
            x=table[texts],
            y=targets.y,
            task=targets.task,
            class_names=targets.class_names,
            target_names=tuple(self._targets),
        )

    def read(self, path: Path) -> Rows:
        """Read rows to predict: a CSV file like that of training, ``.npy`` or ``.parquet``."""
        return super().read(path) if path.suffix in (".npy", ".parquet") else self._read(path, [])

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Tokenize``, which learns its vocabulary from the training rows."""
        return Tokenize(
            columns=tuple(self._texts),
            tokenizer=self._tokenizer,
            vocabulary_size=self._vocabulary_size,
            min_frequency=self._min_frequency,
            lowercase=self._lowercase,
            max_length=self._max_length,
            truncation=self._truncation,
        )

    def _read(self, path: Path, values: list[str]) -> pd.DataFrame:
        return self._file.read_texts(path, values, quoting=self._quoting)


class Text(Data):
    """Plain text files, cut into consecutive blocks: what a language model learns from.

    The training, validation and test parts follow each other in the text. A block becomes tokens
    ``[T]`` int64: the last token before it, from which its first one is predicted, then its own, then
    zeros if it is shorter than others. So each token, but for a file's first, is predicted once.

    Args:
        path: a file, a folder (all its ``.txt`` files, those of folders in it too), or a pattern such
            as ``books/*.md``; several files are read in the order of their names, and no block holds
            text of two.
        encoding: the files' character encoding.
        block: most characters of a block; with words and byte pairs it ends where a word does.
        tokenizer: what a token is: ``character``, ``byte`` (of UTF-8), ``word`` (also each punctuation
            mark; white space is lost) or ``bpe`` (byte-pair encoding, learned from the training part).
        vocabulary_size: most tokens, padding and the unknown one among them; ``byte`` has 258.
        min_frequency: words and characters that occur less often in the training part are unknown;
            ``bpe`` does not merge such pairs.
        lowercase: turn capital letters into small ones.

    Raises:
        ConfigError: the vocabulary is too small for byte pairs.
        DataError: files are missing, empty or of another encoding.
    """

    input: InputKind = "tokens"

    def __init__(
        self,
        *,
        path: str,
        encoding: str = "utf-8",
        block: Annotated[int, Ge(2), Range(32, 512, log=True)] = 128,
        tokenizer: Literal["word", "character", "byte", "bpe"] = "character",
        vocabulary_size: Annotated[int, Ge(3), Range(1000, 50000, log=True)] = 20000,
        min_frequency: PositiveInt = 1,
        lowercase: bool = False,
    ) -> None:
        self._path = Path(path).expanduser()
        self._encoding = encoding
        self._block = block
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._min_frequency = min_frequency
        self._lowercase = lowercase
        self.preprocessor()  # refuses a vocabulary that cannot be

    def load(self) -> Examples:
        """Read all files and cut them; a block's span of time are its first and last character."""
        texts = [self._read_text(path) for path in self._files()]
        if not any(text.strip() for text in texts):
            raise DataError(f"{str(self._path)!r} holds no text; give files with text in them")
        rows = pd.concat([self._cut(text) for text in texts], ignore_index=True)
        ends = rows[_TEXT].str.len().to_numpy(np.int64).cumsum()
        starts = np.append(0, ends[:-1])
        return Examples(x=rows, y=None, task="", spans=np.stack([starts, ends - 1], axis=1))

    def read(self, path: Path) -> Rows:
        """Read texts to go on from: a table with the column ``text``, or ``.npy``.

        Any other file is plain text with one of them on each line; empty lines are left out.
        """
        if path.suffix == ".csv":
            return TableFile(",", True, self._encoding).read_texts(path)
        if path.suffix in (".npy", ".parquet"):
            return super().read(path)
        lines = [line for line in self._read_text(path).split("\n") if line]
        if not lines:
            raise DataError(
                f"{str(path)!r} holds no text; write one text to go on from on each line"
            )
        return pd.DataFrame({_TEXT: lines}, dtype=str)

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Tokenize``, which learns its vocabulary from the training part."""
        return Tokenize(
            columns=(_TEXT,),
            context=_BEFORE,
            tokenizer=self._tokenizer,
            vocabulary_size=self._vocabulary_size,
            min_frequency=self._min_frequency,
            lowercase=self._lowercase,
            max_length=None,
            truncation="start",  # the end is what a model goes on from
        )

    def _files(self) -> list[Path]:
        path = self._path
        if path.is_file():
            return [path]
        if path.is_dir():
            found = sorted(path.rglob("*.txt"))
            missing = f"the folder {str(path)!r} holds no .txt file; give a pattern such as '*.md'"
        else:
            found = sorted(map(Path, glob.glob(str(path), recursive=True)))
            missing = f"no file is at {str(path)!r}; give a text file, a folder or a pattern"
        files = [file for file in found if file.is_file()]
        if not files:
            raise DataError(missing)
        return files

    def _read_text(self, path: Path) -> str:
        if not path.is_file():
            raise DataError(f"no file is at {str(path)!r}; give the path of a text file")
        try:
            # A byte-order mark tells of the encoding and is no part of the text.
            return path.read_text(encoding=self._encoding).removeprefix("\ufeff")
        except (UnicodeError, LookupError) as error:
            raise DataError(
                f"the file {str(path)!r} is not {self._encoding} text; state its data.encoding"
            ) from error
        except OSError as error:
            raise DataError(f"the file {str(path)!r} cannot be read ({error.strerror})") from error

    def _cut(self, text: str) -> pd.DataFrame:
        cuts = list(self._cuts(text))
        blocks = [text[start:end] for start, end in pairwise([*cuts, len(text)])]
        before = [self._last_word(text, start) for start in cuts]
        return pd.DataFrame({_BEFORE: before, _TEXT: blocks}, dtype=str)

    def _cuts(self, text: str) -> Iterator[int]:
        """Yield where blocks begin."""
        start = 0
        while start < len(text):
            yield start
            end = start + self._block
            if self._tokenizer in ("word", "bpe") and end < len(text):
                end = next((i for i in range(end, start, -1) if _ends_word(text, i)), end)
            start = end

    def _last_word(self, text: str, end: int) -> str:
        """Return what stands before ``text[end]``, with the space before it, at most a block."""
        least = max(0, end - self._block)
        start = next((i for i in range(end - 1, least, -1) if _ends_word(text, i)), least)
        return text[start:end]


def _ends_word(text: str, place: int) -> bool:
    """Whether a word ends before ``text[place]``: no vocabulary joins it to what follows."""
    return text[place].isspace() and not text[place - 1].isspace()
