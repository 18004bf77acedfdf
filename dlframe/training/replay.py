"""Training a recorded run again: what differs from then, and whether the same numbers come out."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from dlframe.errors import ReplayError, RunNotFoundError
from dlframe.tracking.code_state import code_state
from dlframe.tracking.earlier import recorded_metrics
from dlframe.tracking.provenance import environment, package_list
from dlframe.training.prepare import read_config
from dlframe.training.resume import recorded_threads
from dlframe.training.run import Run, execute

__all__ = ["Parting", "Replay", "differences", "replay"]

_TIMES = ("perf/", "cost/", "system/", "final/")
"""Metrics that tell of time and machine, or repeat others."""
_ENVIRONMENT = (
    "python", "torch", "cuda", "cudnn", "cpu_capability", "mkldnn", "determinism",
)  # fmt: skip
"""What of the environment may change digits; the number of threads is set as it was."""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The first recorded value that came out differently.

    Args:
        metric: its name.
        step: optimizer step.
        before: the recorded value; as text where it is not finite.
        now: the value of the replay; None where it has none.
    """

    metric: str
    step: int
    before: float | str
    now: float | str | None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A run trained again.

    Args:
        run: the new run.
        of: id of the run that it replays.
        differences: what is not as it was: packages, plugins, machine, code; one sentence each.
        compared: number of recorded values that were compared.
        equal: number of those that are the same to the last bit.
        parting: the first of the others, by step; None where all are the same.
    """

    run: Run
    of: str
    differences: list[str]
    compared: int
    equal: int
    parting: Parting | None


def replay(
    folder: Path,
    *,
    root: Path | None = None,
    uri: str | None = None,
    strict: bool = False,
    command: Sequence[str] = (),
) -> Replay:
    """Train a run again from its record, and compare every metric.

    Config, seed and number of threads are the recorded ones, and the data must be.

    Args:
        folder: the run's folder.
        root: folder of the new run's folder; None puts it beside the old one's.
        uri: where to record the new run; None means where the old one was.
        strict: refuse to train where anything is not as it was.
        command: the command line, for the record.

    Raises:
        DataError: the data is not what the run was trained on.
        ReplayError: with ``strict``, where packages, plugins, machine or code differ.
        RunNotFoundError: the run was not recorded.
    """
    before = _values(folder)
    if not before:
        raise RunNotFoundError(
            f"{str(folder)!r} holds no recorded metrics to compare with; train the config again with "
            "`dlframe train`"
        )
    found = list(differences(folder))
    if strict and found:
        raise ReplayError(
            f"not all is as it was when run {folder.name!r} was trained: {'; '.join(found)}; mend "
            "that, or leave out --strict"
        )
    config = read_config(folder)
    config["tracking"]["root"] = str(root or folder.parent)
    config["tracking"]["uri"] = uri or config["tracking"]["uri"]
    config["resume"] = "never"
    if config["trainer"]["threads"] is None:
        config["trainer"]["threads"] = recorded_threads(folder)
    overrides = json.loads((folder / "overrides.json").read_text())
    run = execute(config, overrides=overrides, command=command, replay_of=folder)
    now = _values(run.folder)
    partings = [
        Parting(metric=metric, step=step, before=value, now=now.get((step, metric)))
        for (step, metric), value in sorted(before.items())
        if now.get((step, metric)) != value
    ]
    return Replay(
        run=run,
        of=folder.name,
        differences=found,
        compared=len(before),
        equal=len(before) - len(partings),
        parting=partings[0] if partings else None,
    )


def differences(folder: Path) -> Iterator[str]:
    """Yield what is not as it was when the run in ``folder`` was trained, one sentence each."""
    yield from chain(
        _of_environment(_read(folder / "environment.json")),
        _of_packages(folder / "packages.txt"),
        _of_code(_read(folder / "code" / "workdir.json"), folder),
    )


def _values(folder: Path) -> dict[tuple[int, str], float | str]:
    """Return the recorded values by step and name; what is not finite as text, equal to itself."""
    return {
        (step, key): value if math.isfinite(value) else str(value)
        for key, step, value in recorded_metrics(folder)
        if not key.startswith(_TIMES)
    }


def _of_environment(recorded: dict[str, Any]) -> Iterator[str]:
    now = environment()
    for name in _ENVIRONMENT:
        if name in recorded and recorded[name] != now.get(name):
            yield f"{name.replace('_', ' ')} was {recorded[name]}, is {now.get(name)}"
    names = [[device["name"] for device in facts.get("devices", ())] for facts in (recorded, now)]
    if names[0] != names[1]:
        before, after = (", ".join(each) or "none" for each in names)
        yield f"accelerators were {before}, are {after}"


def _of_packages(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    before, now = (
        dict(line.split("==", 1) for line in text.splitlines() if "==" in line)
        for text in (path.read_text(), package_list())
    )
    for name in sorted(before.keys() | now.keys(), key=str.lower):
        if before.get(name) == now.get(name):
            continue
        if name not in now:
            yield f"package {name} {before[name]} is not installed any more"
        elif name not in before:
            yield f"package {name} {now[name]} was not installed"
        else:
            yield f"package {name} was {before[name]}, is {now[name]}"


def _of_code(recorded: dict[str, Any], folder: Path) -> Iterator[str]:
    if not recorded:
        return
    state = code_state(Path.cwd(), apart_from=folder.parent)
    if state is None or state.remote != recorded["remote"]:
        yield "this folder is not in the git repository that the run was started in"
        return
    now = state.facts()
    if now["commit"] != recorded["commit"]:
        yield f"the commit was {_short(recorded['commit'])}, is {_short(now['commit'])}"
    elif now["patch_sha256"] != recorded["patch_sha256"]:
        yield "what is changed but not committed is not what it was"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
