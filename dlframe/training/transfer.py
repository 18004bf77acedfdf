"""A training that begins with another run's weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlframe.errors import CheckpointError, ConfigError, RunNotFoundError
from dlframe.tracking.runs import LAST, RecordedRun, find_run
from dlframe.training.checkpoint import check, digest, read
from dlframe.training.named import find_parts, inside
from dlframe.training.origin import Origin, listed
from dlframe.training.prepare import CHECKPOINT, Parts, network_weights

__all__ = ["begin_with", "load_parts", "pin"]


def pin(config: dict[str, Any], replay_of: str | Path | None = None) -> None:
    """Write into the config the whole id of the run to begin with, and the SHA-256 of its weights.

    With these a replay, a run that goes on, and every process of a training on several devices begin
    with the same weights, or say that these are gone.

    Args:
        config: validated; changed in place.
        replay_of: folder of the run that it is to repeat, beside which the other may be, too.

    Raises:
        RunNotFoundError: no run, or several, answer to the name, or it kept no weights.
        CheckpointError: its weights are damaged, or not those of a SHA-256 that was given.
    """
    options = config["transfer"]
    if options["run"] is None:
        for name in ("parts", "sha256"):
            if options[name]:
                raise ConfigError(
                    f"transfer.{name} says what to take of another run; name that with +from=<run>"
                )
        return
    if options["run"] == LAST:
        raise ConfigError(
            "transfer.run takes the id of a run, since the last one is another when the training is "
            "repeated; write +from=last on the command line, which looks it up once"
        )
    found = _find(config, replay_of)
    path = _checkpoint(found)
    check(path)
    sha256 = digest(path)
    _compare(found.id, options["sha256"], sha256)
    options["run"], options["sha256"] = found.id, sha256


def begin_with(parts: Parts, replay_of: str | Path | None = None) -> None:
    """Load the weights that the config names, after ``pin``, into the network; note their origin.

    Args:
        parts: of the training; the network is changed in place.
        replay_of: as for ``pin``.

    Raises:
        CheckpointError: the weights are damaged, or not those that were pinned.
        ConfigError: they do not fit.
        RunNotFoundError: the run is gone, or kept no weights.
    """
    options = parts.config["transfer"]
    if options["run"] is None:
        return
    found = _find(parts.config, replay_of)
    path = _checkpoint(found)
    sha256 = digest(path)
    _compare(found.id, options["sha256"], sha256)
    loaded, left = load_parts(
        parts.network,
        network_weights(read(path)),
        parts=options["parts"],
        strict=options["strict"] == "all",
        run=found.id,
    )
    parts.origin = Origin(
        run=found.id, sha256=sha256, parts=options["parts"], loaded=loaded, left=left
    )


def load_parts(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    parts: Sequence[str] = (),
    strict: bool = True,
    run: str,
) -> tuple[dict[str, str], list[str]]:
    """Copy another network's weights into this one, where names and shapes agree.

    Args:
        network: changed in place.
        weights: the other network's parameters and buffers, by name.
        parts: names of parts, patterns, or ``theirs:ours`` where a part has another name here; none
            takes the whole network.
        strict: refuse what does not fit; else it stays as it was.
        run: id of the other network's run, for messages.

    Returns:
        The names of the tensors that were copied, each with its name in the other network; and what
        did not fit, one phrase each.

    Raises:
        ConfigError: a part is missing, something does not fit where all must, or nothing does.
    """
    ours = {k: v for k, v in network.state_dict().items() if isinstance(v, Tensor)}
    pairs = _pairs(parts, weights, ours, run)
    left = list(_unfit(pairs, parts, weights, ours))
    fitting = {k: s for k, s in pairs.items() if k in ours and ours[k].shape == weights[s].shape}
    if not fitting:
        raise ConfigError(
            f"nothing of run {run!r} fits this network ({listed(left)}); choose the architecture and "
            "the options that it was trained with, or name the parts that correspond, as in "
            "transfer.parts=[encoder.layers:features]"
        )
    if left and strict:
        whole = _whole_parts(fitting, weights, ours)
        parts_remedy = f", or name parts that do, as transfer.parts=[{','.join(whole)}]"
        raise ConfigError(
            f"the weights of run {run!r} do not fit this network ({listed(left)}); load what fits with "
            f"transfer.strict=fitting{parts_remedy if whole and not parts else ''}"
        )
    with torch.no_grad():
        for key, source in fitting.items():
            ours[key].copy_(weights[source])
    return fitting, left


def _find(config: Mapping[str, Any], replay_of: str | Path | None) -> RecordedRun:
    """Find the run in the tracking root, beside the one to repeat, or through MLflow."""
    name, tracking = config["transfer"]["run"], config["tracking"]
    if replay_of is not None:
        with suppress(RunNotFoundError):
            return find_run(name, Path(replay_of).parent, None)
    return find_run(name, Path(tracking["root"]), tracking["uri"])


def _checkpoint(found: RecordedRun) -> Path:
    path = found.folder / CHECKPOINT
    if not path.is_file():
        raise RunNotFoundError(
            f"run {found.id!r} kept no weights to begin with ({str(path)!r} is missing): it ended "
            "before its first validation, or had trainer.checkpoint=false; choose another run"
        )
    return path


def _compare(run: str, wanted: str | None, sha256: str) -> None:
    if wanted is not None and wanted != sha256:
        raise CheckpointError(
            f"the weights of run {run!r} are not those to begin with (SHA-256 {sha256[:12]}, wanted "
            f"{wanted[:12]}); restore its checkpoint, or train anew without transfer.sha256"
        )


def _pairs(
    parts: Sequence[str], weights: Mapping[str, Tensor], ours: Mapping[str, Tensor], run: str
) -> dict[str, str]:
    """Return the names of tensors here, each with the name of the one that it is to be a copy of."""
    if not parts:
        return {name: name for name in weights}
    option, pairs = "transfer.parts", dict[str, str]()
    for word in parts:
        theirs, renamed, here = word.partition(":")
        if renamed and (not here or any(sign in word for sign in "*?[")):
            raise ConfigError(
                "transfer.parts takes theirs:ours without patterns, as in encoder.layers:features; "
                f"got {word!r}"
            )
        found = find_parts(option, [theirs], weights, whose=f"run {run!r}")
        find_parts(option, [here if renamed else theirs], ours)
        for part, names in found.items():
            place = here if renamed else part
            pairs |= {f"{place}{name.removeprefix(part)}": name for name in names}
    return pairs


def _unfit(
    pairs: Mapping[str, str],
    parts: Sequence[str],
    weights: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
) -> Iterator[str]:
    """Yield a phrase for each tensor that has no counterpart of its shape."""
    for key, source in pairs.items():
        if key not in ours:
            yield f"{source} has no place here"
        elif ours[key].shape != weights[source].shape:
            shapes = (list(weights[source].shape), list(ours[key].shape))
            yield f"{key} is {shapes[0]} there and {shapes[1]} here"
    places = [word.rpartition(":")[2] for word in parts]
    wanted = find_parts("transfer.parts", places, ours).values() if parts else [list(ours)]
    for key in (name for names in wanted for name in names):
        if key not in pairs:
            yield f"{key} is not there"


def _whole_parts(
    fitting: Mapping[str, str], weights: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> list[str]:
    """Return the outermost parts all of whose tensors fit."""
    names = [*weights, *ours]
    outer = dict.fromkeys(name.partition(".")[0] for name in names)
    return [part for part in outer if all(name in fitting for name in names if inside(part, name))]
