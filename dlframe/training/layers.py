"""What the layers of a network do while it learns: activations, gradients, steps, units that died.

Hooks are attached for the steps that are measured and gone for all others. They read what passes by,
draw no random numbers and change nothing, so that the trained network is the same with and without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation as activations
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from dlframe.training.silence import ends, has_bounds, has_ends

__all__ = ["QUANTITIES", "Layer", "LayerWatch", "Measurement", "layers_of", "loss_scale"]

QUANTITIES = (
    "mean", "std", "zeros", "saturated", "dead", "weight_norm", "grad_norm", "update_ratio",
)  # fmt: skip
"""What is measured of each layer; NaN where a layer has no such thing."""

_MEAN, _STD, _ZEROS, _SATURATED, _DEAD, _WEIGHT, _GRADIENT, _UPDATE = range(len(QUANTITIES))


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of the network that is measured.

    Args:
        name: its name in the network.
        type: name of its class.
        module: itself.
        player: name of the part that it is trained with, where several are trained.
        parameters: its own.
        weighted: whether it is a layer of weights: it contains no others, and has a matrix or a kernel,
            which a normalization has not.
        active: whether it is an activation.
    """

    name: str
    type: str
    module: nn.Module
    player: str
    parameters: tuple[nn.Parameter, ...]
    weighted: bool
    active: bool


@dataclass(slots=True)
class Measurement:
    """What was measured in one step.

    Args:
        epoch: number of the epoch, from 1.
        step: number of the optimizer step, from 1.
        values: ``[layers, quantities]``, float32 on the CPU.
    """

    epoch: int
    step: int
    values: Tensor


def layers_of(
    network: nn.Module, players: Mapping[str, nn.Module], activation: type[nn.Module]
) -> list[Layer]:
    """Return the modules that have parameters of their own, and the activations, as they were made.

    Args:
        network: the network.
        players: the parts that are trained apart, by name.
        activation: class of the chosen activation.
    """
    owned: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        owner, parametrized, _ = name.partition(".parametrizations.")
        owned.setdefault(owner if parametrized else name.rpartition(".")[0], []).append(parameter)
    parts = {id(m): name for name, part in players.items() for m in part.modules()}
    found: list[Layer] = []
    inside = ""  # of an activation that is made of several modules
    for name, module in network.named_modules():
        if ".parametrizations" in name or (inside and name.startswith(inside)):
            continue
        active = _is_activation(module, activation)
        own = owned.get(name, [])
        if active:
            inside = f"{name}."
            own = list(module.parameters())
        if active or own:
            player = parts.get(id(module), "") if len(players) > 1 else ""
            inner = [n for n, _ in module.named_children() if n != "parametrizations"]
            whole = not inner or isinstance(module, nn.MultiheadAttention)
            weighted = whole and not active and any(p.ndim > 1 for p in own)
            kind = type(module).__name__.removeprefix("Parametrized")
            layer = Layer(name or "network", kind, module, player, tuple(own), weighted, active)
            found.append(layer)
    return found


def _is_activation(module: nn.Module, chosen: type[nn.Module]) -> bool:
    if isinstance(module, (nn.Sequential, nn.Identity, nn.MultiheadAttention)):
        return False
    return type(module) is chosen or type(module).__module__ == activations.__name__


class LayerWatch:
    """Measures the layers in some steps of a training.

    Args:
        layers: what to measure.
        per_epoch: optimizer steps per epoch.
        whole: number of the last step of an epoch, from 1, whose batch is a whole one.
        every: steps from one measurement to the next; None measures once in each epoch. The first
            step is always measured.

    Attributes:
        measurements: what was found so far.
    """

    def __init__(
        self, layers: Sequence[Layer], *, per_epoch: int, whole: int, every: int | None = None
    ) -> None:
        self.layers = list(layers)
        self.measurements: list[Measurement] = []
        self._per_epoch, self._whole, self._every = per_epoch, whole, every
        self._handles: list[RemovableHandle] = []
        self._before: list[list[Tensor]] | None = None

    # --- a training step --------------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """Whether to measure in optimizer step number ``step``, from 1."""
        if self._every is not None:
            return step == 1 or step % self._every == 0
        return step == 1 or (step - 1) % self._per_epoch + 1 == self._whole

    @property
    def measuring(self) -> bool:
        """Whether the step at hand is measured."""
        return self._before is not None

    def begin(self, step: int) -> None:
        """Attach to the network, if step number ``step`` is one to measure."""
        if not self.due(step):
            return
        self._passed: list[list[Tensor]] = [[] for _ in self.layers]
        self._sizes: list[list[int]] = [[] for _ in self.layers]
        self._gradients: dict[int, Tensor] = {}
        self._before = [[p.detach().clone() for p in layer.parameters] for layer in self.layers]
        for number, layer in enumerate(self.layers):
            self._attach(layer.module, lambda m, i, o, n=number: self._pass(n, o))

    def gradients(self, part: nn.Module, scale: float = 1.0) -> None:
        """Measure the gradients of a part that is about to move, unless that was done in this step.

        Args:
            part: the network, or what an optimizer of its own moves of it.
            scale: what the gradients were multiplied by.
        """
        own = {id(module) for module in part.modules()}
        for number, layer in enumerate(self.layers):
            if id(layer.module) in own and number not in self._gradients:
                found = [p.grad.detach() for p in layer.parameters if p.grad is not None]
                if found:
                    self._gradients[number] = _norm(found) / scale

    def end(self, epoch: int, step: int) -> dict[str, float]:
        """Let go of the network; return the values to record.

        Args:
            epoch: number of the epoch, from 1.
            step: number of the step, from 1.
        """
        assert self._before is not None
        self._detach()
        values = torch.full((len(self.layers), len(QUANTITIES)), float("nan"))
        for number, (layer, before) in enumerate(zip(self.layers, self._before, strict=True)):
            values[number, :_DEAD] = _merged(self._passed[number], self._sizes[number])
            if before:
                size = _norm(before)
                moved = [p.detach() - old for p, old in zip(layer.parameters, before, strict=True)]
                ratio = _norm(moved) / size if float(size) > 0 else float("nan")
                values[number, _WEIGHT], values[number, _UPDATE] = size, ratio
            if number in self._gradients:
                values[number, _GRADIENT] = self._gradients[number]
        self._before = None
        self._gradients = {}
        self.measurements.append(Measurement(epoch, step, values))
        return self._summary(values)

    def _pass(self, number: int, output: Any) -> None:
        """Take in what a layer gave."""
        found = _tensor(output)
        if found is None:
            return
        layer, y = self.layers[number], _readable(found)
        variance, mean = torch.var_mean(y, correction=0)
        shares = [y.new_tensor(float("nan"))] * 2
        if layer.active:
            shares[0] = (y == 0).float().mean()
            if has_bounds(layer.module):
                low, high = ends(layer.module, y)
                shares[1] = (low | high).float().mean()
        self._passed[number].append(torch.stack([mean, variance, *shares]))
        self._sizes[number].append(y.numel())

    # --- a validation batch -----------------------------------------------------------------------

    @property
    def asks(self) -> bool:
        """Whether dead units have not been counted yet since the last measured step."""
        return bool(self.measurements) and bool(self._active) and not self._counted

    @property
    def _active(self) -> list[int]:
        return [n for n, layer in enumerate(self.layers) if layer.active]

    @property
    def _counted(self) -> bool:
        return not bool(self.measurements[-1].values[self._active, _DEAD].isnan().all())

    def count(self, evaluate: Callable[[], object]) -> None:
        """Count the units that never fire.

        It is a run of its own, since a network with hooks may take another way through its kernels,
        and metrics must not depend on that.

        Args:
            evaluate: runs the network on one batch.
        """
        self._silent: dict[int, tuple[Tensor, Tensor]] = {}
        self._maps = False
        for number, layer in enumerate(self.layers):
            if layer.active and has_ends(layer.module):
                self._attach(layer.module, lambda m, i, o, n=number: self._listen(n, o))
            elif isinstance(layer.module, (_ConvNd, *_VECTORS)):
                self._attach(layer.module, lambda m, i, o: self._note_axis(m))
        try:
            with torch.no_grad(), torch.random.fork_rng():
                evaluate()
        finally:
            self._detach()
        dead = self.measurements[-1].values[:, _DEAD]
        dead[self._active] = 0.0  # those that cannot fall silent have none
        for number, (low, high) in self._silent.items():
            dead[number] = (low | high).float().mean()

    def counted(self) -> dict[str, float]:
        """Return the values to record of the units that were counted last."""
        values = torch.full_like(self.measurements[-1].values, float("nan"))
        values[:, _DEAD] = self.measurements[-1].values[:, _DEAD]
        return self._summary(values)

    def _listen(self, number: int, output: Any) -> None:
        found = _tensor(output)
        if found is None:
            return
        y = _readable(found)
        axis = 1 if self._maps else -1
        low, high = (
            each.movedim(axis, 0).flatten(1).all(1) for each in ends(self.layers[number].module, y)
        )
        if number in self._silent:  # it is run several times, as the discriminator of a game is
            before = self._silent[number]
            low, high = low & before[0], high & before[1]
        self._silent[number] = low, high

    def _note_axis(self, module: nn.Module) -> None:
        """Remember whether units are channels of a map, or values of a vector at the end."""
        self._maps = isinstance(module, _ConvNd)

    # --- what is recorded -------------------------------------------------------------------------

    def _summary(self, values: Tensor) -> dict[str, float]:
        """Return what is worth a curve: of each of few layers, and of the first and the last."""
        shown: dict[str, float] = {}
        rows = dict(zip(self.layers, values.tolist(), strict=True))
        for player in dict.fromkeys(layer.player for layer in self.layers):
            prefix = f"layers/{player}/" if player else "layers/"
            weighted = [r for y, r in rows.items() if y.weighted and y.player == player]
            active = [r for y, r in rows.items() if y.active and y.player == player]
            if weighted:
                shown[f"{prefix}grad_norm_first"] = weighted[0][_GRADIENT]
                shown[f"{prefix}grad_norm_last"] = weighted[-1][_GRADIENT]
                shown[f"{prefix}update_ratio"] = _median([row[_UPDATE] for row in weighted])
            for name, column in (("zeros", _ZEROS), ("saturated", _SATURATED), ("dead", _DEAD)):
                if known := [row[column] for row in active if row[column] == row[column]]:
                    shown[f"{prefix}{name}"] = sum(known) / len(known)
        single = [(y, row) for y, row in rows.items() if y.weighted or y.active]
        for layer, row in single if len(single) <= _FEW else []:
            columns = (_GRADIENT, _UPDATE) if layer.weighted else (_STD, _DEAD)
            shown |= {f"layers/{layer.name}/{QUANTITIES[c]}": row[c] for c in columns}
        return {name: value for name, value in shown.items() if value == value}

    def rows(self) -> list[dict[str, Any]]:
        """Return everything as rows of a table: one for each measured step and layer."""
        return [
            {
                "epoch": found.epoch,
                "step": found.step,
                "layer": layer.name,
                "type": layer.type,
                "player": layer.player,
                "weighted": layer.weighted,
                "active": layer.active,
                "parameters": sum(p.numel() for p in layer.parameters),
                **dict(zip(QUANTITIES, values, strict=True)),
            }
            for found in self.measurements
            for layer, values in zip(self.layers, found.values.tolist(), strict=True)
        ]

    # --- checkpoints ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what was found so far."""
        return {
            "places": [(found.epoch, found.step) for found in self.measurements],
            "values": [found.values for found in self.measurements],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        pairs = zip(state["places"], state["values"], strict=True)
        self.measurements = [Measurement(e, step, values.cpu()) for (e, step), values in pairs]

    # --- hooks ------------------------------------------------------------------------------------

    def _attach(self, module: nn.Module, hook: Any) -> None:
        self._handles.append(module.register_forward_hook(hook))

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


_FEW = 12
"""Layers up to which each has curves of its own."""
_VECTORS = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.Embedding, nn.MultiheadAttention)


def loss_scale(trainer: Any, optimizer: torch.optim.Optimizer) -> float:
    """Return what gradients are multiplied by that an optimizer takes still scaled, else 1."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return 1.0
    return float(scaler.get_scale())


def _tensor(output: Any) -> Tensor | None:
    """Return the first floating tensor of what a layer gave, if there is one with values."""
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    usable = isinstance(output, Tensor) and output.is_floating_point() and output.numel() > 0
    return output if usable else None


def _readable(y: Tensor) -> Tensor:
    """Return values in at least single precision, outside of what is differentiated."""
    y = y.detach()
    return y.to(torch.promote_types(y.dtype, torch.float32))


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all values together."""
    each = torch.stack([torch.linalg.vector_norm(_readable(tensor)) for tensor in tensors])
    norm: Tensor = torch.linalg.vector_norm(each)
    return norm


def _merged(parts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return mean, standard deviation and shares over all passes of a step, on the CPU."""
    if not parts:
        return torch.full((_DEAD,), float("nan"))
    table = torch.stack(list(parts)).double().cpu()
    weights = torch.tensor(sizes, dtype=torch.float64)[:, None] / sum(sizes)
    mean = (weights[:, 0] * table[:, 0]).sum()
    variance = (weights[:, 0] * (table[:, 1] + (table[:, 0] - mean).square())).sum()
    return torch.cat([torch.stack([mean, variance.sqrt()]), (weights * table[:, 2:]).sum(0)])


def _median(values: Sequence[float]) -> float:
    known = sorted(value for value in values if value == value)
    return known[len(known) // 2] if known else float("nan")
