"""The preprocessor of texts: tokens, cut and padded to one length."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlframe.components.data.columns import as_texts
from dlframe.components.data.vocabulary import PADDING, SMALLEST_BPE, Tokens, make_vocabulary
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Preprocessor, Rows

__all__ = ["Tokenize"]


class Tokenize(Preprocessor):
    """Maps texts to tokens ``[N, T]`` int64, with zeros behind those of shorter texts.

    ``T`` is the length of the longest training text, at most ``max_length``; longer texts are cut.
    Token 0 is padding and token 1 what the vocabulary lacks. Several columns are joined to one text,
    each on a line of its own; a missing value is an empty text. Rows to transform are a table that
    has the columns in any order, and further ones; an array with these columns; or whole texts
    ``[N]``.

    Args:
        columns: the columns of texts; empty takes all of the training rows, in their order.
        context: a column with what stands before each text: its last token is put in front. Rows to
            transform may lack it.
        tokenizer: what a token is: ``word``, ``character``, ``byte`` (of UTF-8) or ``bpe``
            (byte-pair encoding).
        vocabulary_size: most tokens, padding and the unknown one among them; ``byte`` has 258.
        min_frequency: words and characters that occur less often in the training texts are unknown;
            ``bpe`` does not merge such pairs.
        lowercase: turn capital letters into small ones.
        max_length: most tokens of a text; null takes the longest training text whole.
        truncation: which end of a longer text is cut off.

    Raises:
        ConfigError: the vocabulary is too small for byte pairs.
        DataError: a column is missing, or the training texts give no token.
    """

    def __init__(
        self,
        *,
        columns: tuple[str, ...] = (),
        context: str | None = None,
        tokenizer: Literal["word", "character", "byte", "bpe"],
        vocabulary_size: int,
        min_frequency: int,
        lowercase: bool,
        max_length: int | None,
        truncation: Literal["end", "start"],
    ) -> None:
        if tokenizer == "bpe" and vocabulary_size < SMALLEST_BPE:
            raise ConfigError(
                f"data.vocabulary_size must be at least {SMALLEST_BPE} with data.tokenizer=bpe (256 "
                f"bytes, padding, unknown); got {vocabulary_size}"
            )
        self._columns = columns
        self._context = context
        self._kind = tokenizer
        self._min_frequency = min_frequency
        self._lowercase = lowercase
        self._max_length = max_length
        self._truncation = truncation
        self._length = 0
        self._characters_per_token = 0.0
        self._vocabulary = make_vocabulary(tokenizer, vocabulary_size, min_frequency)

    def fit(self, x: Rows) -> None:
        """Learn the vocabulary and the length from training rows.

        Raises:
            DataError: the rows hold no text, or all tokens are rarer than ``min_frequency``.
        """
        if isinstance(x, pd.DataFrame) and not self._columns:
            self._columns = tuple(str(name) for name in x.columns if name != self._context)
        texts = self._texts(x)
        if not any(text.strip() for text in texts):
            raise DataError(
                f"the training part holds no text: all {len(texts)} rows are empty; check the file "
                "and the text columns"
            )
        self._vocabulary.fit(texts)
        if self._vocabulary.size <= PADDING + 2:
            raise DataError(
                f"no {self._kind} occurs data.min_frequency={self._min_frequency} times in the "
                f"{len(texts)} training texts; lower it"
            )
        found = self._vocabulary.encode(texts)
        if self._kind != "word":  # words leave the white space out
            self._characters_per_token = sum(map(len, texts)) / sum(map(len, found))
        self._length = max(map(len, self._behind_context(x, found)))
        if self._max_length is not None:
            self._length = min(self._length, self._max_length)

    def transform(self, x: Rows) -> Tensor:
        """Map ``N`` rows to tokens ``[N, T]`` int64.

        Raises:
            DataError: a column is missing, or the rows hold no texts.
        """
        padded = np.full((len(x), self._length), PADDING, dtype=np.int64)
        found = self._behind_context(x, self._vocabulary.encode(self._texts(x)))
        for row, tokens in zip(padded, found, strict=True):
            cut = max(0, len(tokens) - self._length) if self._truncation == "start" else 0
            kept = tokens[cut : cut + self._length]
            row[: len(kept)] = kept
        return torch.from_numpy(padded)

    def _behind_context(self, x: Rows, found: list[Tokens]) -> list[Tokens]:
        """Put the last token of what stands before a text in front of its tokens."""
        if self._context is None or not isinstance(x, pd.DataFrame) or self._context not in x:
            return found
        before = self._vocabulary.encode(self._prepare(as_texts(x[self._context])))
        pairs = zip(before, found, strict=True)
        return [np.concatenate([ahead[-1:], tokens]) for ahead, tokens in pairs]

    def _texts(self, x: Rows) -> list[str]:
        if isinstance(x, pd.DataFrame):
            missing = [name for name in self._columns if name not in x.columns]
            if missing:
                raise DataError(
                    f"the rows lack the columns {', '.join(map(repr, missing))}; training read texts "
                    f"from {', '.join(map(repr, self._columns))}: add them, empty where there is none"
                )
            parts = [self._prepare(as_texts(x[name])) for name in self._columns]
        else:
            parts = [self._prepare(column) for column in self._split(x)]
        return parts[0] if len(parts) == 1 else ["\n".join(row) for row in zip(*parts, strict=True)]

    def _split(self, x: NDArray[Any]) -> list[NDArray[np.object_]]:
        """Return the columns of an array, of which whole texts are one."""
        texts = x.dtype.kind == "U" or all(isinstance(value, str) for value in x.flat)
        if x.ndim == 1 and texts:
            return [x.astype(object)]
        if x.ndim == 2 and x.shape[1] == max(1, len(self._columns)) and texts:
            return list(x.astype(object).T)
        raise DataError(
            f"rows without column names must be texts [N], or hold the {len(self._columns)} columns "
            f"{', '.join(map(repr, self._columns))} in this order; got an array of {x.dtype} of shape "
            f"{list(x.shape)}"
        )

    def _prepare(self, values: NDArray[np.object_]) -> list[str]:
        texts = ["" if pd.isna(value) else str(value) for value in values.tolist()]
        # Halves of a character, which no encoding can hold, become question marks.
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        return [text.lower() for text in texts] if self._lowercase else texts

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of texts."""
        return self._columns

    def facts(self) -> Mapping[str, Any]:
        """The size of the vocabulary, and how much text a token is."""
        return {
            "vocabulary_size": self._vocabulary.size,
            "characters_per_token": self._characters_per_token,
        }

    def invert(self, x: Tensor) -> Rows:
        """Map tokens ``x[N, T]`` to a table of texts; words are put together with spaces."""
        rows = x.detach().cpu().numpy().astype(np.int64)
        name = self._columns[0] if len(self._columns) == 1 else "text"
        return pd.DataFrame({name: [self._vocabulary.decode(row) for row in rows]}, dtype=str)

    def save(self, path: Path) -> None:
        """Write the fitted state to the file ``path`` as JSON."""
        state = {
            "columns": self._columns,
            "length": self._length,
            "characters_per_token": self._characters_per_token,
            "vocabulary": self._vocabulary.state(),
        }
        path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")

    def restore(self, path: Path) -> None:
        """Read the state that ``save`` wrote."""
        state = json.loads(path.read_text(encoding="utf-8"))
        self._columns = tuple(state["columns"])
        self._length = state["length"]
        self._characters_per_token = state["characters_per_token"]
        self._vocabulary.restore(state["vocabulary"])
