"""An example plugin: one component of each of five kinds.

dlframe imports this module whenever it lists components, so it imports nothing heavy: each component is
named by the text ``"module:Name"`` and imported when it is first used.
"""

from collections.abc import Iterable

from dlframe import Component, hookimpl


@hookimpl
def dlframe_architectures() -> Iterable[Component]:
    """Yield the plugin's networks."""
    yield Component(
        name="residual_mlp",
        target="dlframe_example.residual_mlp:ResidualMLP",
        summary="fully connected residual blocks with layer normalization",
        tasks=("classification", "multilabel", "regression"),
        inputs=("features", "image", "sequence"),
        reference="arXiv:2106.11959",
    )


@hookimpl
def dlframe_activations() -> Iterable[Component]:
    """Yield the plugin's activations."""
    yield Component(
        name="snake",
        target="dlframe_example.snake:Snake",
        summary="x + sin^2(a x) / a: learns periodic functions",
        reference="arXiv:2006.08195",
    )


@hookimpl
def dlframe_losses() -> Iterable[Component]:
    """Yield the plugin's losses."""
    yield Component(
        name="charbonnier",
        target="dlframe_example.charbonnier:Charbonnier",
        summary="smooth absolute error: squared near zero, absolute far from it",
        tasks=("regression", "reconstruction"),
        reference="doi:10.1109/ICIP.1994.413553",
    )


@hookimpl
def dlframe_optimizers() -> Iterable[Component]:
    """Yield the plugin's optimizers."""
    yield Component(
        name="lion",
        target="dlframe_example.lion:Lion",
        summary="steps of equal size along the sign of the momentum",
        reference="arXiv:2302.06675",
    )


@hookimpl
def dlframe_regularizers() -> Iterable[Component]:
    """Yield the plugin's regularizers."""
    yield Component(
        name="orthogonality",
        target="dlframe_example.orthogonality:Orthogonality",
        summary="keep the units of each layer at right angles to each other",
        reference="arXiv:1810.09102",
    )
