"""From texts to numbers and back: bytes, characters, words and byte pairs.

Every vocabulary gives token 0 to padding and token 1 to what training did not see.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

__all__ = [
    "PADDING",
    "SMALLEST_BPE",
    "UNKNOWN",
    "ByteVocabulary",
    "CharacterVocabulary",
    "LearnedVocabulary",
    "Tokens",
    "Vocabulary",
    "make_vocabulary",
]

PADDING, UNKNOWN = 0, 1
SMALLEST_BPE = 258  # each byte is a token of its own
_RESERVED = 2
_UNKNOWN_TEXT = "\ufffd"  # Unicode's sign for what cannot be shown
_CHUNK = 1024

Tokens = NDArray[np.int64]


class Vocabulary(ABC):
    """Turns texts into tokens, after it has learned from training texts which there are.

    Attributes:
        size: number of tokens, padding and the unknown one among them.
    """

    size: int = 0

    @abstractmethod
    def fit(self, texts: Sequence[str]) -> None:
        """Learn the tokens of training texts; the same texts, in any order, give the same tokens."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""

    @abstractmethod
    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens; padding is left out, unknown tokens are shown as U+FFFD."""

    @abstractmethod
    def state(self) -> Any:
        """Return what was learned, as JSON holds it."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Take what ``state`` returned."""


def make_vocabulary(
    kind: Literal["word", "character", "byte", "bpe"], size: int, min_frequency: int
) -> Vocabulary:
    """Return a new vocabulary.

    Args:
        kind: what a token is.
        size: most tokens, padding and the unknown one among them.
        min_frequency: what occurs less often in the training texts is unknown (``bpe``: is not
            merged).
    """
    if kind == "byte":
        return ByteVocabulary()
    if kind == "character":
        return CharacterVocabulary(size, min_frequency)
    return LearnedVocabulary(kind, size, min_frequency)


class ByteVocabulary(Vocabulary):
    """The 256 bytes of UTF-8: nothing is learned, and nothing unknown."""

    size = 256 + _RESERVED

    def fit(self, texts: Sequence[str]) -> None:
        """Learn nothing."""

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's bytes, moved up by two."""
        return [
            np.frombuffer(text.encode(), np.uint8).astype(np.int64) + _RESERVED for text in texts
        ]

    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens; bytes that are no UTF-8 are shown as U+FFFD."""
        kept = tokens[tokens != PADDING] - _RESERVED
        known = np.where(kept < 0, 0xFF, kept)  # a byte that UTF-8 never has
        return known.astype(np.uint8).tobytes().decode("utf-8", "replace")

    def state(self) -> Any:
        """Return nothing."""
        return None

    def restore(self, state: Any) -> None:
        """Take nothing."""


class CharacterVocabulary(Vocabulary):
    """The commonest characters of the training texts, in the order of their code points."""

    def __init__(self, size: int, min_frequency: int) -> None:
        self._most, self._min_frequency = size - _RESERVED, min_frequency
        self.restore("")

    def fit(self, texts: Sequence[str]) -> None:
        """Count characters and keep the commonest; of equally common ones, the first."""
        points, counts = np.unique(_points("".join(texts)), return_counts=True)
        often = counts >= self._min_frequency
        points, counts = points[often], counts[often]
        kept = points[np.lexsort((points, -counts))[: self._most]]
        self.restore("".join(map(chr, np.sort(kept).tolist())))

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Look all characters up at once."""
        points = _points("".join(texts))
        places = np.searchsorted(self._points, points)
        found = np.append(self._points, 0)[places] == points
        tokens = np.where(found, places + _RESERVED, UNKNOWN).astype(np.int64)
        return np.split(tokens, np.cumsum([len(text) for text in texts])[:-1]) if texts else []

    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens."""
        shown = ["", _UNKNOWN_TEXT, *self._characters]
        return "".join(shown[token] for token in tokens.tolist())

    def state(self) -> Any:
        """Return the characters in the order of their tokens."""
        return self._characters

    def restore(self, state: Any) -> None:
        """Take the characters."""
        self._characters = str(state)
        self._points = _points(self._characters)
        self.size = len(self._characters) + _RESERVED


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


class LearnedVocabulary(Vocabulary):
    """Words, or byte pairs, with the ``tokenizers`` library.

    A word is a run of letters, digits and underscores, or any other single character that is not
    white space; the commonest are kept. Byte pairs are merged within words and the space before them,
    the commonest first; all bytes are tokens, so that nothing is unknown and no text changes.

    Reference:
        Byte-pair encoding: Sennrich, Haddow and Birch 2016, arXiv:1508.07909.
    """

    def __init__(self, kind: Literal["word", "bpe"], size: int, min_frequency: int) -> None:
        self._kind, self._most, self._min_frequency = kind, size, min_frequency
        self._library = Library(models.WordLevel({}, unk_token=_UNKNOWN_TEXT))

    def fit(self, texts: Sequence[str]) -> None:
        """Learn words or merges."""
        shared: dict[str, Any] = {
            "vocab_size": self._most,
            "min_frequency": self._min_frequency,
            "special_tokens": ["<padding>", _UNKNOWN_TEXT],
            "show_progress": False,
        }
        trainer: Any
        if self._kind == "word":
            library = Library(models.WordLevel({}, unk_token=_UNKNOWN_TEXT))
            library.normalizer = normalizers.NFC()
            library.pre_tokenizer = pre_tokenizers.Split(
                Regex(r"\w+|[^\w\s]"), "removed", invert=True
            )
            trainer = trainers.WordLevelTrainer(**shared)
        else:
            library = Library(models.BPE())
            library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            library.decoder = decoders.ByteLevel()
            alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
            trainer = trainers.BpeTrainer(**shared, initial_alphabet=alphabet)
        with _one_thread():
            library.train_from_iterator(texts, trainer)
        self.restore(json.loads(library.to_str()))

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""
        found: list[Tokens] = []
        with _one_thread():
            for start in range(0, len(texts), _CHUNK):
                chunk = list(texts[start : start + _CHUNK])
                for encoding in self._library.encode_batch_fast(chunk, add_special_tokens=False):
                    found.append(np.array(encoding.ids, dtype=np.int64))
        return found

    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens; words are put together with spaces."""
        text: str = self._library.decode(tokens[tokens != PADDING].tolist())
        return text

    def state(self) -> Any:
        """Return the library's own form."""
        return json.loads(self._library.to_str())

    def restore(self, state: Any) -> None:
        """Take the library's own form."""
        # A text that spells a reserved token would be given its number.
        self._library = Library.from_str(json.dumps(state | {"added_tokens": []}))
        self.size = self._library.get_vocab_size()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the library to this thread: with threads of its own, later forks of the process warn."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
