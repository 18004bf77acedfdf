"""The overrides of a command line: how one reads, and what a command with them does."""

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from dlframe.config.source import OPTUNA, SWEEP, SWEEPER
from dlframe.errors import ConfigError, did_you_mean

__all__ = ["first_job", "is_sweep", "parse", "sentence_of", "values_of"]


def parse(text: str) -> Override:
    """Read one override.

    Raises:
        ConfigError: it is not well formed.
    """
    if "=" not in text and not text.startswith("~"):
        raise ConfigError(
            f"an override reads key=value; got {text!r}; `dlframe train --help` has more"
        )
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        said = sentence_of(error)
        if (
            _EVALUATING in said
        ):  # the form is right, and what a function such as choice() is given not
            raise ConfigError(
                f"the override {text!r} cannot be read: {_wrong_call(said)}"
            ) from error
        raise ConfigError(
            f"the override {text!r} is not well formed ({said}); write key=value, and a "
            "value with special characters in two kinds of quotes, as in 'tracking.root=\"~x\"'"
        ) from error


_EVALUATING = " while evaluating "


_EXAMPLES = {
    "choice": "choice(8,16,32)",
    "glob": "glob(*)",
    "int": "int(interval(1,10))",
    "interval": "interval(1e-4,1e-1)",
    "range": "range(10,100,10)",
    "tag": "tag(log,interval(1e-4,1e-1))",
}


def _wrong_call(said: str) -> str:
    call, _, reason = said.partition(_EVALUATING)[2].partition(": ")
    name = call.partition("(")[0].lstrip("'")
    unknown, _, known = reason.partition(" Available: ")
    if known:
        near = did_you_mean(name, known.split(","))
        return f"{unknown[0].lower()}{unknown[1:]}; {near}there are {', '.join(known.split(','))}"
    if "NoneType is incompatible" in reason and name == "choice":
        return "choice() takes no null; write the values without it, as in <one>,null"
    remedy = f"write it as in {_EXAMPLES[name]}" if name in _EXAMPLES else "give it other values"
    return f"{reason.replace(chr(39), '')}; {remedy}"


def sentence_of(error: BaseException) -> str:
    """What Hydra or OmegaConf says, without the lines that describe its own state."""
    said = re.split(r"\n\s*(?:See https|Config search path|full_key|object_type)", str(error))[0]
    return " ".join(said.split()).rstrip(".") or type(error).__name__


def values_of(override: Override) -> list[Any]:
    """The value of an override, or all of them where it sweeps."""
    if not override.is_sweep_override():
        return [override.value()]
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP or not override.is_discrete_sweep():
        return []  # a pattern finds only what there is; from an interval a sweeper draws
    key = override.key_or_group
    return [parse(f"{key}={text}").value() for text in override.sweep_string_iterator()]


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a command searches, rather than trains once or for all combinations of values."""
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key == SWEEP and value.strip() not in ("", "[]", "null"):
            return True
        if key == SWEEPER and value.strip() == OPTUNA:
            return True
    return False


def first_job(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides of a multirun's first job, and the keys that it sweeps over.

    A sweep whose values are not known beforehand, such as an interval, is left out of the job.
    """
    job, swept = [], []
    for text in overrides:
        override = parse(text)
        key = override.key_or_group
        if not override.is_sweep_override():
            if not key.startswith("hydra"):
                job.append(text)
            continue
        swept.append(key)
        if values_of(override):
            job.append(f"{key}={next(override.sweep_string_iterator())}")
    return job, swept
