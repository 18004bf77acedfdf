"""Studies that are there already: found by name, kept from being mixed up, named anew."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock

from dlframe.config.settings import SweepOptions
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Definition, Parameter, telling
from dlframe.sweep.marks import DEFINITION
from dlframe.sweep.storage import journal_of, open_storage, studies_folder, study_names
from dlframe.sweep.tally import done

__all__ = ["alone", "check_own", "check_same", "latest", "name_of", "unused"]

_ANOTHER = "choose another name with hydra.sweeper.study_name=<name>"
_OTHERWISE = f"{_ANOTHER}, or begin anew with --fresh"
_MARK = "dlframe:"
"""What all attributes begin with that dlframe gives a study."""
_JOURNAL, _SQLITE = "journal://", "sqlite:///"
_LOCK = "begin.lock"


def name_of(
    config: dict[str, Any], fixed: Sequence[str], space: Sequence[Parameter], options: SweepOptions
) -> str:
    """Name a study by what is tried: the same command finds it again."""
    words = [config[kind]["component"].rpartition("/")[2] for kind in ("architecture", "data")]
    identity = {
        # Which folder it is, is known from where the study lies.
        "fixed": [text for text in telling(fixed) if not text.startswith("tracking.root=")],
        "space": [asdict(parameter) for parameter in space],
        "goals": [options.objective, options.direction, options.constraints, options.seeds],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return "-".join([*words, digest[:8]])


def latest(base: str, storage: str | None, root: Path) -> tuple[str, optuna.Study | None]:
    """Return what the same command goes on with: the study of its name, or the last begun anew.

    Args:
        base: name of the study, to which beginning anew adds a number.
        storage: its address; None for a study's own file below ``root``.
        root: the tracking root.

    Returns:
        Name and study; None where none was begun.

    Raises:
        ConfigError: one of this name is not dlframe's.
        StorageError: the storage does not answer.
    """
    for number in sorted(_numbers(base, storage, root), reverse=True):
        name = f"{base}-{number}"
        study = _loaded(name, storage, root)
        text = study.user_attrs.get(DEFINITION) if study is not None else None
        # Another study may be called so by its user.
        if text is not None and Definition.from_json(text).base == base:
            return name, study
    study = _loaded(base, storage, root)
    if study is None or not check_own(study):
        return base, None
    return base, study


def unused(base: str, storage: str | None, root: Path) -> str:
    """Return the name of a study that is begun anew: with a number behind all that there are."""
    numbers = _numbers(base, storage, root)
    if not numbers and _loaded(base, storage, root) is None:
        return base
    return f"{base}-{max(numbers, default=1) + 1}"


def check_own(study: optuna.Study) -> bool:
    """Return whether dlframe began a study; one with nothing in it may become any.

    A command that was killed as it began leaves such a study.

    Raises:
        ConfigError: somebody else made it.
    """
    if DEFINITION in study.user_attrs:
        return True
    foreign = [name for name in study.user_attrs if not name.startswith(_MARK)]
    foreign += study._storage.get_study_system_attrs(study._study_id)
    if foreign or study.get_trials(deepcopy=False):
        raise ConfigError(f"the study {study.study_name!r} was not made by dlframe; {_ANOTHER}")
    return False


def check_same(study: optuna.Study, before: Definition, now: Definition) -> None:
    """Make sure that a study may be gone on with.

    Raises:
        ConfigError: its trials could not be compared with those to come, or it has more already.
    """
    name = now.name
    if [goal.metric for goal in before.goals] == [goal.metric for goal in now.goals]:
        for old, new in zip(before.goals, now.goals, strict=True):
            if old.direction != new.direction:
                raise ConfigError(
                    f"the study {name!r} exists and is to {old.direction} {old.metric}, not to "
                    f"{new.direction} it; {_OTHERWISE}"
                )
    if before.fingerprint() != now.fingerprint():
        raise ConfigError(
            f"the study {name!r} exists {' and '.join(_differences(before, now))}, which would mix "
            f"trials that cannot be compared; {_OTHERWISE}"
        )
    most, finished = now.stops.n_trials, done(study.get_trials(deepcopy=False), now)
    if most is not None and most < finished:
        raise ConfigError(
            f"n_trials counts all trials of the study {name!r}, which has {finished} already; got "
            f"{most}; give a larger hydra.sweeper.n_trials"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Begin a study while no other command does: of several at once, the first creates it."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK, mode=0o660):  # a group may share the folder
        yield


# --- parts ----------------------------------------------------------------------------------------


def _loaded(name: str, storage: str | None, root: Path) -> optuna.Study | None:
    url = storage or journal_of(name, root)
    if _is_to_be_made(url):
        return None
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url))
    except KeyError:
        return None


def _is_to_be_made(url: str) -> bool:
    """Whether a storage is a file that is not there: to open it would make it."""
    if url.startswith(_JOURNAL):
        return not Path(url.removeprefix(_JOURNAL)).exists()
    path = url.removeprefix(_SQLITE).partition("?")[0]
    return url.startswith(_SQLITE) and not Path(path).exists()


def _numbers(base: str, storage: str | None, root: Path) -> list[int]:
    """Return the numbers behind a name that studies or their folders have."""
    folder = studies_folder(root)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    if storage is not None and not _is_to_be_made(storage):
        names |= set(study_names(root, storage))
    found = (re.fullmatch(rf"{re.escape(base)}-([1-9]\d*)", name) for name in names)
    return [int(match[1]) for match in found if match]


def _differences(before: Definition, now: Definition) -> list[str]:
    """Say in which ways the study that exists is another."""
    said = []
    old, new = telling(before.fixed), telling(now.fixed)
    lost, added = ([t for t in a if t not in b] for a, b in ((old, new), (new, old)))
    if lost:
        said.append(f"with {' '.join(lost)}" + (f" instead of {' '.join(added)}" if added else ""))
    elif added:
        said.append(f"without {' '.join(added)}")
    if before.space != now.space:
        spaces = ({p.name: p for p in each.space} for each in (before, now))
        first, second = spaces
        names = [n for n in {**first, **second} if first.get(n) != second.get(n)]
        said.append(f"with another space ({', '.join(names) or 'in another order'})")
    if before.goals != now.goals:
        said.append(f"to {_goals(before)} instead of {_goals(now)}")
    if before.constraints != now.constraints:
        said.append("with other constraints")
    if before.seeds != now.seeds:
        said.append(f"with {before.seeds} seeds a trial instead of {now.seeds}")
    return said


def _goals(definition: Definition) -> str:
    return " and ".join(f"{goal.direction} {goal.metric}" for goal in definition.goals)
