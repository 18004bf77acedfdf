"""Commands that are printed for the user: each works as it is, wherever the study is kept."""

import re
import shlex
from pathlib import Path

from dlframe.sweep.definition import Definition
from dlframe.sweep.space_texts import text_of
from dlframe.sweep.storage import journal_of
from dlframe.tracking.where import root_option

__all__ = ["about", "train_best"]

_PLAIN = re.compile(r"[A-Za-z/][\w/.:-]*", re.ASCII)
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


def about(action: str, definition: Definition, storage: str | None) -> str:
    """Return the command line of ``dlframe study ACTION`` for a study.

    Args:
        action: such as ``status``.
        definition: the study's.
        storage: its address; None for the usual file.
    """
    where = root_option(Path(definition.root))
    if (address := _elsewhere(definition, storage)) is not None:
        where += f" --storage {shlex.quote(address)}"
    return f"dlframe study {action} {shlex.quote(definition.name)}{where}"


def train_best(definition: Definition, storage: str | None) -> str:
    """Return the command line that trains the best of a study.

    Args:
        definition: the study's.
        storage: its address; None for the usual file.
    """
    words = [f"+from={definition.name}"]
    if root_option(Path(definition.root)):
        words.append(f"tracking.root={_text(definition.root)}")
    if (address := _elsewhere(definition, storage)) is not None:
        words.append(f"hydra.sweeper.storage={_text(address)}")
    return shlex.join(["dlframe", "train", *words])


def _text(value: str) -> str:
    """Return a text as Hydra reads it, in quotes only where it needs them."""
    return value if _PLAIN.fullmatch(value) else text_of(value)


def _elsewhere(definition: Definition, storage: str | None) -> str | None:
    """Return the address of a storage that is to be given, without its password."""
    if storage is None:
        return None
    usual = journal_of(definition.name, Path(definition.root))
    return None if storage == usual else _PASSWORD.sub(r"\1@", storage)
