"""Overrides in, a complete config out; and, where Hydra refuses, one sentence that says why."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dlframe.config.assignments import OWN_PRESET, check_search, check_values
from dlframe.config.choices import check_choices, is_group, refuse_lists, refuse_ranges
from dlframe.config.overrides import is_sweep, parse, sentence_of
from dlframe.config.source import CONF, register, searching
from dlframe.errors import ConfigError, DlframeError

__all__ = ["compose", "explain", "prepare"]


def compose(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> DictConfig:
    """Compose the config that ``dlframe train`` would run.

    Args:
        overrides: as on the command line, such as ``"optimizer.lr=3e-4"``.
        config_dir: a folder of the user's own YAML files, searched first.

    Raises:
        ConfigError: an override does not fit; the message names the nearest that would.
    """
    prepare(overrides, config_dir)
    try:
        return _compose(overrides, config_dir)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error, overrides, config_dir) from error


def prepare(overrides: Sequence[str], config_dir: Path | None, *, many: bool = False) -> None:
    """Make Hydra ready, and refuse what it would let pass.

    Args:
        overrides: as on the command line.
        config_dir: a folder of the user's own YAML files.
        many: whether this is a multirun, all values of which are then checked before its first job.

    Raises:
        ConfigError: the folder is missing, or an override does not fit.
    """
    register()
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"no folder is at {str(config_dir)!r}; give --config-dir one that exists")
    if many:
        fault = _fault(overrides, config_dir, many=True)
        if fault is not None:
            raise _told(fault) from fault
    else:
        refuse_lists(overrides, config_dir)


def _compose(
    overrides: Sequence[str], config_dir: Path | None, *, with_hydra: bool = False
) -> DictConfig:
    with (
        searching(config_dir),
        _untouched_hydra(),
        initialize_config_dir(str(CONF), version_base="1.3"),
    ):
        return hydra_compose("config", overrides=list(overrides), return_hydra_config=with_hydra)


@contextmanager
def _untouched_hydra() -> Iterator[None]:
    """Let a composition happen inside a Hydra job, whose state would otherwise be overwritten."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)


def explain(
    error: BaseException,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    *,
    many: bool = False,
) -> DlframeError:
    """Turn what Hydra, OmegaConf or the validation raised into one sentence with the remedy.

    The overrides are looked at one by one, since the error itself rarely names the one at fault.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DlframeError):
        cause = cause.__cause__ or cause.__context__
    fault = _fault(overrides, config_dir, many=many)
    if isinstance(fault, DlframeError):
        return fault
    if isinstance(cause, DlframeError):
        return cause
    return _told(fault or error)  # the fault is of the groups alone, hence nearer to the cause


def _fault(overrides: Sequence[str], config_dir: Path | None, *, many: bool) -> Exception | None:
    """What is wrong with the first override at fault, if one is."""
    try:
        parsed = [parse(text) for text in overrides]
        refuse_ranges(parsed)
        chosen = check_choices(parsed, config_dir, many=many)
        searches = is_sweep(overrides)
        if searches:  # the trials have choices of their own
            fixed = [override for override in parsed if not override.is_sweep_override()]
            groups = [o for o in fixed if is_group(o.key_or_group, config_dir)]
            chosen = [str(override.input_line) for override in groups]
        # Raises for a group that Hydra itself must report.
        config = _compose(chosen, config_dir, with_hydra=True)
        (check_search if searches else check_values)(parsed, config_dir, config)
    except (HydraException, OmegaConfBaseException, ValueError) as fault:
        own = is_sweep(overrides) and "'BasicSweeperConf'" in str(fault)
        return ConfigError(OWN_PRESET) if own else fault
    return None


def _told(error: BaseException) -> DlframeError:
    if isinstance(error, DlframeError):
        return error
    return ConfigError(
        f"the configuration cannot be composed: {sentence_of(error)}; `dlframe train --cfg job` prints "
        "the one to start from"
    )
