"""The kinds of component: what each is called, and which arguments dlframe itself passes in."""

from dataclasses import dataclass

__all__ = ["ALL_KINDS", "KINDS", "PRUNER", "SAMPLER", "SINK", "Kind", "kind_named"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One extension point.

    Args:
        name: the word in configs and on the command line.
        runtime: names of the arguments that dlframe passes when it builds a component of this kind.
            They are never options. A target takes those of them that its signature names.
        many: whether a run may hold several components of the kind side by side.
    """

    name: str
    runtime: tuple[str, ...] = ()
    many: bool = False

    @property
    def plural(self) -> str:
        """The word for several, as in the hook's name."""
        return {"loss": "losses", "data": "data"}.get(
            self.name, self.name[:-1] + "ies" if self.name.endswith("y") else self.name + "s"
        )

    @property
    def hook(self) -> str:
        """The hook by which plugins declare components of this kind."""
        return f"dlframe_{self.plural}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("architecture", runtime=("spec", "activation")),
        Kind("activation"),
        Kind("loss", runtime=("spec",)),
        Kind("optimizer", runtime=("params",)),
        Kind("regularizer", many=True),
        Kind("scheduler", runtime=("optimizer", "total_steps", "steps_per_epoch")),
        Kind("initializer"),
        Kind("data"),
        Kind("task", runtime=("spec", "loss")),
    )
}

SINK = Kind("sink")
"""A place that runs are delivered to. It is no part of a training: it has no options and no group."""

SAMPLER = Kind("sampler", runtime=("seed", "space"))
"""What proposes the values of a sweep's trials. Like a sink, no part of a training."""

PRUNER = Kind("pruner", runtime=("max_resource",))
"""What ends a sweep's trials early. Like a sink, no part of a training."""

ALL_KINDS: dict[str, Kind] = {**KINDS, **{kind.name: kind for kind in (SINK, SAMPLER, PRUNER)}}
"""Those of which a training is composed, and sinks, samplers and pruners."""


def kind_named(word: str) -> Kind | None:
    """Return the kind that ``word`` names in the singular or the plural, or None."""
    for kind in ALL_KINDS.values():
        if word in (kind.name, kind.plural):
            return kind
    return None
