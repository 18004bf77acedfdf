"""A network as a table: its layers, what each gives, and how many numbers it learns."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dlframe.interfaces import Batch, Task

__all__ = ["count_parameters", "summarize"]

_ROWS = 2


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return the number of all parameters and of those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def summarize(network: nn.Module, task: Task, batch: Batch) -> str:
    """Return a table with a line for each layer, in the order in which they were made.

    A small batch runs through the network to find the shapes; neither random numbers nor the network
    are changed by it.

    Args:
        network: the network, on the CPU.
        task: evaluates the batch.
        batch: examples of the data, of which two are used.
    """
    shapes, problem = _shapes(network, task, Batch(batch.x[:_ROWS], batch.y[:_ROWS]))
    rows = [("layer", "kind", "output", "parameters", "trained")]
    for name, module in network.named_modules():
        own = list(module.parameters(recurse=False))
        inner = any(True for _ in module.children())
        if inner and not own and name:
            continue
        size = sum(p.numel() for p in own)
        trained = sum(p.numel() for p in own if p.requires_grad)
        if not name:  # the network as a whole
            size, trained = count_parameters(network)
        shown = (f"{size:,}", f"{trained:,}") if size else ("", "")
        rows.append((name or "(all)", type(module).__name__, shapes.get(name, ""), *shown))
    rows = [rows[0], *rows[2:], rows[1]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "-" * len(lines[0])
    table = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    if problem:
        table.append(f"\nshapes are missing: {problem}")
    return "\n".join(table) + f"\n\n{network}\n"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _shapes(network: nn.Module, task: Task, batch: Batch) -> tuple[dict[str, str], str]:
    """Return the shape that each layer gave, by its name, and what stood in the way."""
    found: dict[str, str] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = _shape(output)

        return hook

    training = {module: module.training for module in network.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    hooks = [m.register_forward_hook(keep(name)) for name, m in network.named_modules()]
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),  # compiling is for the training to do
        ):
            network.eval()
            task.evaluate(network, task.prepare(batch))
    except Exception as error:  # whatever a network finds wrong, training itself will tell
        return found, f"{type(error).__name__}: {error}"
    finally:
        for handle in hooks:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return found, ""


def _shape(output: Any) -> str:
    """Write the shape of what a layer gave, without the batch axis."""
    if isinstance(output, Tensor):
        return f"[{', '.join(map(str, output.shape[1:]))}]"
    if isinstance(output, (tuple, list)):
        return " ".join(shape for each in output if (shape := _shape(each)))
    return ""
