"""What surrounds a training, its machine, packages and code: recorded, and compared with later ones."""

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from dlframe.plugin import registry
from dlframe.tracking.code_state import CodeState, code_state
from dlframe.tracking.provenance import command_line, environment, package_list
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.whole import write_whole

__all__ = ["drift", "record_attempt", "record_code", "tell", "write_environment"]

_ENVIRONMENT, _PACKAGES, _CODE, _ATTEMPTS = "environment.json", "packages.txt", "code", "attempts"
_WORKDIR = "workdir"
_DECIDING = (
    "python", "torch", "cuda", "cudnn", "cpu_capability", "mkldnn", "determinism",
)  # fmt: skip
"""What of the environment may change digits; the number of threads is set as it was."""
_TOLD = 12
_NAMED = 5


def write_environment(folder: Path) -> None:
    """Write ``environment.json``: the machine, and the distribution and version of each plugin."""
    usable = [plugin for plugin in registry().plugins if plugin.status == "ok"]
    plugins = {plugin.name: f"{plugin.distribution} {plugin.version}".strip() for plugin in usable}
    facts = environment() | {"plugins": plugins}
    write_whole(folder / _ENVIRONMENT, json.dumps(facts, indent=1))


def record_code(recorder: Recorder, folder: Path, plugins: set[str], place: str = "") -> None:
    """Record the installed packages, and the git work trees that the code comes from.

    Args:
        recorder: of the run.
        folder: where to write them, in the run's folder.
        plugins: names of the plugins whose components are used.
        place: folder among the run's artifacts.
    """
    write_whole(folder / _PACKAGES, package_list())
    recorder.artifact(folder / _PACKAGES, place or "config")
    states = _states(plugins, recorder.root)
    for name, state in states.items():
        state.write(folder / _CODE, name)
    if states:
        recorder.artifact(folder / _CODE, f"{place}/{_CODE}".lstrip("/"))
    if not place and _WORKDIR in states:
        recorder.tags(states[_WORKDIR].tags())


def record_attempt(
    recorder: Recorder, number: int, plugins: set[str], command: Sequence[str]
) -> None:
    """Record what surrounds a training that is gone on with, beside that of its beginning.

    What is not as it was is said on standard error, and in the run's tag ``dlframe.drift``.

    Args:
        recorder: of the run.
        number: the attempt's; the first training is number 1.
        plugins: names of the plugins whose components are used.
        command: the command line.
    """
    found = drift(recorder.folder)
    tell(found)
    if found:
        recorder.tags({"dlframe.drift": "; ".join(found)})
    place = f"{_ATTEMPTS}/{number}"
    folder = recorder.folder / place
    folder.mkdir(parents=True, exist_ok=True)
    write_environment(folder)
    facts = {"attempt": number, "command": command_line(command), "drift": found}
    write_whole(folder / "attempt.json", json.dumps(facts, indent=1))
    for name in (_ENVIRONMENT, "attempt.json"):
        recorder.artifact(folder / name, place)
    record_code(recorder, folder, plugins, place)


def drift(folder: Path) -> list[str]:
    """Return what is not as it was when the run in ``folder`` was begun, one sentence each."""
    return list(
        chain(
            _of_environment(_read(folder / _ENVIRONMENT)),
            _of_packages(folder / _PACKAGES),
            _of_code(folder),
        )
    )


def tell(found: Sequence[str]) -> None:
    """Print sentences of ``drift`` on standard error, the first dozen of many."""
    for sentence in found[:_TOLD]:
        print(f"dlframe: {sentence}", file=sys.stderr)
    if len(found) > _TOLD:
        print(f"dlframe: {len(found) - _TOLD} more differences", file=sys.stderr)


def _of_environment(recorded: dict[str, Any]) -> Iterator[str]:
    now = environment()
    for name in _DECIDING:
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


def _of_code(folder: Path) -> Iterator[str]:
    for path in sorted((folder / _CODE).glob("*.json")):
        recorded, own = _read(path), path.stem == _WORKDIR
        place = Path.cwd() if own else _work_tree(path.stem)
        state = None if place is None else code_state(place, apart_from=folder.parent)
        silent = state is not None and not (state.answered and recorded.get("answered", True))
        if state is None or (state.remote != recorded["remote"] and not silent):
            yield (
                "this folder is not in the git repository that the run was started in"
                if own
                else f"{path.stem} is not installed from the git repository that it came from"
            )
            continue
        yield from _changes(recorded, state.facts(), "" if own else f" of {path.stem}")


def _changes(recorded: dict[str, Any], now: dict[str, Any], whose: str) -> Iterator[str]:
    """Yield what is not as it was in a work tree, or cannot be compared."""
    before = {"answered": True, "fingerprints": None, "whole_sha256": None} | recorded
    known = all(each["commit"] or each["answered"] for each in (before, now))
    if known and before["commit"] != now["commit"]:
        yield f"the commit{whose} was {_short(before['commit'])}, is {_short(now['commit'])}"
        return
    if not (before["answered"] and now["answered"]):
        when = "now" if before["answered"] else "when the run was begun"
        yield f"git gave no answer {when}, so that the code{whose} cannot be compared"
        return
    wholes = before["whole_sha256"], now["whole_sha256"]
    if before["patch_sha256"] != now["patch_sha256"] or (all(wholes) and wholes[0] != wholes[1]):
        yield f"what is changed but not committed{whose} is not what it was"
    elif before["truncated"] and not all(wholes):
        yield f"what is changed but not committed{whose} is too much to be compared"
    yield from _other_files(before, now, whose)


def _other_files(before: dict[str, Any], now: dict[str, Any], whose: str) -> Iterator[str]:
    """Yield what became of the files that are in no patch."""
    old, new = before["fingerprints"], now["fingerprints"]
    others = f"files{whose} that git does not track"
    if old is None:
        if before["untracked"] or new:
            yield f"{others} were not recorded, so that they cannot be compared"
        return
    fates = {
        "changed": [name for name in old if name in new and old[name] != new[name]],
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
    }
    for fate, names in fates.items():
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"{fate} among the {others}: {', '.join(names[:_NAMED])}{more}"
    if before["more_untracked"] or now["more_untracked"]:
        yield f"of the {others}, those after the first thousand cannot be compared"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _states(plugins: set[str], runs: Path) -> dict[str, CodeState]:
    """Return the work trees of the current folder, dlframe and the plugins; each once."""
    names = {p.distribution for p in registry().plugins if p.name in plugins} | {"dlframe"}
    places = {_WORKDIR: Path.cwd(), **{name: _work_tree(name) for name in sorted(names)}}
    found: dict[str, CodeState] = {}
    for name, place in places.items():
        state = None if place is None else code_state(place, apart_from=runs)
        if state is not None and all(state.root != other.root for other in found.values()):
            found[name] = state
    return found


def _work_tree(name: str) -> Path | None:
    """Return the folder that a distribution is installed from, if that is for editing."""
    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # it lives in a notebook or a test
        return None
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))
