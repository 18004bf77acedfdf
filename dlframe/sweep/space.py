"""The search space of a study: from a command line in Hydra's grammar to Optuna's parameters.

An option belongs to a trial only if a component chosen in that trial has it: which may be known only as
the trial chooses, so that spaces are conditional. Components are compared by their signatures; nothing
is built to make a space.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import FloatDistribution, distribution_to_json

from dlframe.config.assignments import UnknownOptionError, check_value
from dlframe.config.choices import check_choices, is_group, names_of_group
from dlframe.config.overrides import parse
from dlframe.errors import ConfigError
from dlframe.plugin import KINDS, registry
from dlframe.sweep.auto import component_in, condition, declared
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space_choices import Choices
from dlframe.sweep.space_grammar import Dimension, chosen_from, dimension_of
from dlframe.sweep.space_texts import text_of
from dlframe.sweep.space_trials import overrides_of, params_of, propose
from dlframe.sweep.space_words import combinations, describe, grid

__all__ = [
    "build_space",
    "combinations",
    "describe",
    "grid",
    "overrides_of",
    "params_of",
    "propose",
]

_MANY = "regularizer"


def build_space(
    overrides: Sequence[str],
    params: Mapping[str, Any],
    *,
    auto: bool,
    config_dir: Path | None,
) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """Return the overrides that all trials share, and what they search.

    Args:
        overrides: those of the command line, less Hydra's own; what has several values is searched.
        params: more of them, by key: text in Hydra's grammar, or a list of choices. Where the command
            line has the key too, it wins.
        auto: search the ranges that the chosen components declare, too.
        config_dir: a folder of the user's own YAML files.

    A key may be ``optimizer.lr@sgd``: then it is for that component alone. A searched option of a
    regularizer that nothing chooses adds that regularizer.

    Raises:
        ConfigError: an override does not fit, or nothing is searched.
    """
    fixed, dimensions = _read(overrides, params, config_dir)
    groups = [d for d in dimensions if is_group(d.key, config_dir)]
    options = [d for d in dimensions if not is_group(d.key, config_dir)]
    swept = {dimension.key: dimension.values for dimension in groups}
    choices = Choices(_groups(fixed, config_dir), swept, config_dir)
    fixed, added = _with_regularizers(fixed, options, choices)
    if added:
        choices = Choices(_groups(fixed, config_dir), swept, config_dir)
    _check_fixed(fixed, choices, config_dir)
    found = [Parameter(d.key, d.key, distribution_to_json(d.distribution), d.texts) for d in groups]
    taken: set[tuple[str, str | None]] = {(_key(text), None) for text in fixed}
    specific: set[tuple[str, str | None]] = {
        (d.key, d.component) for d in options if d.component is not None
    }
    for dimension in options:
        made, component = _place(dimension, choices, specific, added)
        found.append(made)
        taken.add((dimension.key, component))
    if auto:
        found += declared(choices, frozenset(taken))
    if not found:
        raise ConfigError(
            "nothing is searched: "
            + (
                "no chosen component declares a range; "
                if auto
                else "search what the components declare with hydra.sweeper.auto=true, or "
            )
            + "give a key several values, as in optimizer=adam,sgd"
        )
    given = [d.named for d in dimensions]
    order = {name: number for number, name in enumerate(given)}
    leading = {key for parameter in found for key, _ in parameter.when}
    found.sort(key=lambda p: (p.name not in leading, order.get(p.name, len(order))))
    return tuple(fixed), tuple(found)


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    """One override, whether it is written on the command line or under ``params``."""

    key: str
    component: str | None
    override: Override | None
    values: tuple[Any, ...] = ()
    """Instead of an override: choices."""
    plus: bool = False


def _read(
    overrides: Sequence[str], params: Mapping[str, Any], config_dir: Path | None
) -> tuple[list[str], list[Dimension]]:
    """Tell what is fixed from what is searched."""
    given = [_item(text) for text in overrides]
    line = {(item.key, item.component) for item in given}
    more = [i for i in _items(params) if not {(i.key, None), (i.key, i.component)} & line]
    items = [*given, *more]
    fixed, dimensions = [], list[Dimension]()
    for item in items:
        if item.override is not None and not item.override.is_sweep_override():
            if item.component is not None:
                raise ConfigError(
                    f"{_named(item)} has one value; write {_named(item)}=choice(<value>) to set it "
                    "where that component is chosen"
                )
            fixed.append(str(item.override.input_line))
            continue
        dimension = _dimension(item, config_dir)
        if dimension.named in {d.named for d in dimensions}:
            raise ConfigError(f"{dimension.named} is searched twice; leave one of the two out")
        dimensions.append(dimension)
    parsed = [item.override for item in items if item.override is not None]
    check_choices([_bare(override) for override in parsed], config_dir, many=True)
    for dimension in dimensions:
        if dimension.component is None and dimension.key in map(_key, fixed):
            raise ConfigError(
                f"{dimension.key} is searched and has one value, too; leave one of the two out"
            )
    return fixed, dimensions


def _item(text: str) -> _Item:
    override = parse(text)
    component = override.package if override.is_sweep_override() else None
    return _Item(override.key_or_group, component, override)


def _items(params: Mapping[str, Any], prefix: str = "") -> Iterator[_Item]:
    for name, value in params.items():
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value)
        key, _, component = f"{prefix}{name}".partition("@")
        if isinstance(value, Mapping):  # as Hydra nests `hydra.sweeper.params.optimizer.lr=...`
            yield from _items(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            bare = key.lstrip("+")
            yield _Item(bare, component or None, None, tuple(value), plus=bare != key)
        else:
            text = value if isinstance(value, str) else text_of(value)
            override = parse(f"{key}={text}")
            yield _Item(override.key_or_group, component or None, override)


def _named(item: _Item) -> str:
    return item.key if item.component is None else f"{item.key}@{item.component}"


def _bare(override: Override) -> Override:
    """A swept override without the component that it is for, which Hydra would take for a package."""
    return replace(override, package=None) if override.is_sweep_override() else override


def _dimension(item: _Item, config_dir: Path | None) -> Dimension:
    def names(key: str) -> list[str] | None:
        return names_of_group(key, config_dir) if is_group(key, config_dir) else None

    if item.override is None:
        made = chosen_from(item.key, item.values)
        made = replace(made, component=item.component, plus=item.plus)
        if names(item.key) is not None:
            check_choices([parse(f"{item.key}={','.join(made.texts)}")], config_dir, many=True)
    else:
        made = dimension_of(item.override, names, item.component)
    if made.component is not None:
        made = replace(made, component=_component(made))
    return made


def _component(dimension: Dimension) -> str:
    """The word of the component that a key is for."""
    head = dimension.key.partition(".")[0]
    if head not in KINDS or KINDS[head].many or "." not in dimension.key:
        raise ConfigError(
            f"{dimension.named} is no option of one component among several; write {dimension.key}"
        )
    return registry().word(registry().find(head, str(dimension.component)))


def _key(text: str) -> str:
    return parse(text).key_or_group


def _groups(fixed: Sequence[str], config_dir: Path | None) -> list[str]:
    return [text for text in fixed if is_group(_key(text), config_dir)]


# --- comparing with the options there are ---------------------------------------------------------


def _with_regularizers(
    fixed: list[str], options: Sequence[Dimension], choices: Choices
) -> tuple[list[str], list[str]]:
    """Add the regularizers that nothing chooses and whose options are searched; return them, too."""
    wanted = dict.fromkeys(
        d.key.split(".")[1]
        for d in options
        if d.key.startswith(f"{_MANY}.") and d.key.count(".") > 1
    )
    listed = [
        [registry().word(registry().find(_MANY, str(node["component"])))
         for node in (variant.config.get(_MANY) or {}).values()]
        for variant in choices.variants(_MANY)
    ]  # fmt: skip
    held = {str(name) for v in choices.variants(_MANY) for name in v.config.get(_MANY) or ()}
    added = [name for name in wanted if name not in held]
    for name in added:
        registry().find(_MANY, name)
        if _MANY in choices.swept or listed != [listed[0]] * len(listed):
            raise ConfigError(
                f"an option of {_MANY} {name!r} is searched, but no trial chooses it; add it to the "
                f"choices of {_MANY}, as in '{_MANY}=[],[{name}]'"
            )
    if not added:
        return fixed, []
    kept = [text for text in fixed if _key(text) != _MANY]
    return [*kept, f"{_MANY}=[{','.join([*listed[0], *added])}]"], added


def _check_fixed(fixed: Sequence[str], choices: Choices, config_dir: Path | None) -> None:
    """Refuse an option that has one value, but is missing from some of the trials."""
    for text in fixed:
        override = parse(text)
        key = override.key_or_group
        if is_group(key, config_dir) or override.is_delete():
            continue
        lacking, variants = list[UnknownOptionError](), choices.variants(key.partition(".")[0])
        for variant in variants:
            try:
                check_value(override, variant.config)
            except UnknownOptionError as error:
                lacking.append(error)
        if lacking and len(lacking) < len(variants):
            value = override.get_value_element_as_str()
            raise ConfigError(
                f"{key} is set for all trials, but {lacking[0]}; write '{key}=choice({value})', "
                "which is for those that have it"
            )
        if lacking:
            raise lacking[0]


def _place(
    dimension: Dimension,
    choices: Choices,
    specific: set[tuple[str, str | None]],
    added: Sequence[str],
) -> tuple[Parameter, str | None]:
    """Find the trials that have an option; return its parameter, and the id of its one component."""
    key = dimension.key
    head, *rest = key.split(".")
    many = head in KINDS and KINDS[head].many
    name = rest[0] if many and rest else None
    only = dimension.component and registry().find(head, dimension.component).id
    others = {registry().find(head, c).id for k, c in specific if k == key and c is not None}
    has, lacking, present = [], list[UnknownOptionError](), False
    variants = choices.variants(head)
    for variant in variants:
        component = component_in(head, name, variant.config)
        meant = component == only if only else component not in others
        if meant:
            try:
                _check(dimension, variant.config)
                present = present or _is_in(variant.config, key)
            except UnknownOptionError as error:
                lacking.append(error)
                meant = False
            except ConfigError as error:
                if component is None or many or only or len(variants) == 1:
                    raise
                word = registry().word(registry().find(head, component))
                raise ConfigError(
                    f"{error}, as {head}={word} has it; give one alone its values with "
                    f"{key}@<{head}>=<one>,<other>"
                ) from error
        has.append(meant)
    if not any(has):
        raise _nowhere(dimension, choices, lacking)
    try:
        when = ((head, str(name)),) if name in added else condition(choices, head, name, has)
    except ConfigError as error:
        raise ConfigError(f"{key} is searched, but {error}") from None
    written = f"++{key}" if dimension.plus and not present else key
    made = Parameter(
        dimension.named,
        written,
        distribution_to_json(dimension.distribution),
        dimension.texts,
        when,
    )
    return made, only or None


def _check(dimension: Dimension, config: DictConfig) -> None:
    """Check the values, or the bounds, as if each were set."""
    sign = "+" if dimension.plus else ""
    try:
        check_value(parse(f"{sign}{dimension.key}={','.join(dimension.extremes)}"), config)
    except UnknownOptionError:
        raise
    except ConfigError as error:
        found = dimension.distribution
        if not isinstance(found, FloatDistribution) or not {found.low % 1, found.high % 1} == {0}:
            raise
        low, high = int(found.low), int(found.high)
        try:
            check_value(parse(f"{sign}{dimension.key}={low},{high}"), config)
        except ConfigError:
            raise error from None
        raise ConfigError(f"{error}; write int(interval({low},{high}))") from None


def _nowhere(
    dimension: Dimension, choices: Choices, lacking: Sequence[UnknownOptionError]
) -> ConfigError:
    """Why no trial has an option."""
    head = dimension.key.partition(".")[0]
    found = dict.fromkeys(
        registry().word(registry().find(head, component))
        for variant in choices.variants(head)
        if head in KINDS and (component := component_in(head, None, variant.config))
    )
    if not lacking:
        return ConfigError(
            f"{dimension.named} is searched, but no trial chooses that {head}; trials choose "
            f"{' or '.join(found) or 'what the data decides'}"
        )
    if len(lacking) == 1 or len(found) < 2:
        return lacking[0]
    return ConfigError(
        f"none of the {KINDS[head].plural} that a trial may choose ({', '.join(found)}) has the option "
        f"{dimension.key}; for one: {lacking[0]}"
    )


def _is_in(config: DictConfig, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node.keys():  # noqa: SIM118 - "???" is there
            return False
        node = node._get_node(part)
    return True
