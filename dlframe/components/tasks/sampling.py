"""Texts that go on: one token after another, drawn from what a language model predicts."""

import torch
from torch import Tensor

from dlframe.components.architectures.sequences import lengths
from dlframe.errors import DataError
from dlframe.interfaces import LanguageModel

__all__ = ["go_on", "narrowed"]

_PADDING = 0


def narrowed(logits: Tensor, temperature: float, top_k: int | None, top_p: float) -> Tensor:
    """Return the probabilities ``[N, V]`` that the next token is drawn with.

    ``softmax(logits / temperature)``, then only the ``top_k`` likeliest tokens, then of these only the
    likeliest that together reach ``top_p``; padding has none. Temperature 0 leaves the likeliest.

    Args:
        logits: ``[N, V]``.
        temperature: zero or more.
        top_k: at least 1, or None for all.
        top_p: above 0, at most 1.

    Reference: top-k Fan et al. 2018, arXiv:1805.04833; top-p Holtzman et al. 2019, arXiv:1904.09751.
    """
    logits = logits.float().clone()
    logits[:, _PADDING] = -torch.inf
    if temperature == 0:
        top_k, temperature = 1, 1.0
    # The largest is 0 before division: small temperatures would overflow else.
    logits = (logits - logits.amax(1, keepdim=True)) / temperature
    ordered, tokens = logits.sort(dim=1, descending=True, stable=True)
    shares = ordered.softmax(1)
    if top_k is not None:
        shares[:, top_k:] = 0
        shares = shares / shares.sum(1, keepdim=True)
    # A token stays while those before it have not yet reached top_p; so the first always does.
    shares = shares * (shares.cumsum(1) - shares < top_p)
    return torch.zeros_like(shares).scatter(1, tokens, shares / shares.sum(1, keepdim=True))


def go_on(
    model: LanguageModel,
    prompts: Tensor,
    *,
    length: int,
    window: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
) -> Tensor:
    """Return prompts ``[N, T]`` int64 with ``length`` more tokens each, ``[N, T + length]``.

    Args:
        model: the language model, in evaluation mode.
        prompts: tokens, with padding behind those of shorter ones.
        length: tokens to add.
        window: most tokens that the model sees, the last.
        temperature: as for ``narrowed``.
        top_k: likewise.
        top_p: likewise.
        seed: of the draws; the same prompts give the same texts.

    Raises:
        DataError: a prompt holds no token.
    """
    ends = lengths(prompts != _PADDING)
    if len(ends) and not bool(ends.all()):
        row = int((ends == 0).nonzero()[0, 0])
        raise DataError(f"a prompt needs at least one token; that of row {row} is empty: fill it")
    draws = torch.Generator(prompts.device).manual_seed(seed)
    rows, each = torch.nn.functional.pad(prompts, (0, length)), torch.arange(len(prompts))
    each = each.to(prompts.device)
    places = torch.arange(min(window, rows.shape[1]), device=prompts.device)
    for _ in range(length if len(prompts) else 0):
        starts = (ends - window).clamp(min=0)
        seen = rows.gather(1, (starts[:, None] + places).clamp(max=rows.shape[1] - 1))
        logits = model(seen[:, : int((ends - starts).max())])[each, ends - starts - 1]
        chances = narrowed(logits, temperature, top_k, top_p)
        rows[each, ends] = torch.multinomial(chances, 1, generator=draws)[:, 0]
        ends = ends + 1
    return rows
