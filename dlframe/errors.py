"""Errors a user can cause and mend. Each message is one sentence: the rule, the value, the remedy."""

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AmbiguousNameError",
    "BrokenPluginError",
    "CheckpointError",
    "ComponentNotFoundError",
    "ConfigError",
    "DataError",
    "DlframeError",
    "ReplayError",
    "RunNotFoundError",
    "RunTakenError",
    "Stopped",
    "StorageError",
    "TrainingDivergedError",
    "did_you_mean",
    "sentence",
]


class DlframeError(ValueError):
    """Base of every error that is the user's to mend; the command line prints it without traceback."""


class ConfigError(DlframeError):
    """The configuration does not fit: unknown options, wrong types, parts that exclude each other."""


class ComponentNotFoundError(ConfigError):
    """No plugin provides a component of that kind and name."""


class AmbiguousNameError(ConfigError):
    """Two plugins provide the short name; only the full ids select one."""


class BrokenPluginError(DlframeError):
    """The component belongs to a plugin that could not be loaded."""


class DataError(DlframeError):
    """The data is missing, unreadable, or not what the task needs."""


class CheckpointError(DlframeError):
    """A checkpoint is missing, damaged, or of another training."""


class TrainingDivergedError(DlframeError):
    """The training loss became NaN or infinite."""


class ReplayError(DlframeError):
    """Not everything is as it was when the run was trained."""


class RunNotFoundError(DlframeError):
    """No recorded run, or more than one, answers to the name."""


class StorageError(DlframeError):
    """Results cannot be written: the disk is full or read-only, or the store does not answer."""


class RunTakenError(StorageError):
    """Another process is at work on the run."""


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, by Ctrl-C or another signal.

    Args:
        number: the signal's.
        advice: how to go on, to be said after "stopped".
    """

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(advice)
        self.number = number


def did_you_mean(word: str, known: Iterable[str], *, most: int = 3) -> str:
    """Return ``"did you mean 'lr'? "`` for the known names nearest to ``word``, else ``""``."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=most, cutoff=0.55)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def sentence(error: BaseException) -> str:
    """Return an error as the command line prints it: a user's as it is, a program's with its place."""
    if isinstance(error, DlframeError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error} "
        "(DLFRAME_DEBUG=1 shows the traceback)"
    )
