"""Padding takes no part: in the recurrent network, the transformer and the bag of embeddings."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.architectures.bag_of_embeddings import BagOfEmbeddings
from dlframe.components.architectures.rnn import RNN
from dlframe.components.architectures.sequences import AttentionPooling, lengths, masked_mean
from dlframe.components.architectures.transformer import EncoderBlock, SelfAttention, Transformer
from dlframe.interfaces import Architecture, Spec

SPEC = Spec(
    input="tokens", input_shape=(12,), output_size=3, task="classification", vocabulary_size=20
)
LENGTHS = (12, 5, 1, 8)

CASES: list[tuple[type[Architecture], dict[str, Any]]] = [
    *(
        (RNN, {"cell": cell, "pooling": pooling, "bidirectional": both, "layers": 2, "hidden": 8})
        for cell in ("lstm", "gru", "rnn")
        for pooling in ("last", "mean", "attention")
        for both in (False, True)
    ),
    (Transformer, {"pooling": "mean"}),
    (Transformer, {"pooling": "cls"}),
    (Transformer, {"pre_norm": False}),
    (BagOfEmbeddings, {}),
    (BagOfEmbeddings, {"dense": (7,)}),
]
every_case = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else str(v)
)


def texts() -> Tensor:
    x = torch.randint(1, 20, (len(LENGTHS), 12), generator=torch.Generator().manual_seed(0))
    return x * (torch.arange(12) < torch.tensor(LENGTHS)[:, None])


def build(kind: type[Architecture], options: dict[str, Any]) -> Architecture:
    torch.manual_seed(0)
    return kind(spec=SPEC, activation=nn.ReLU, **options)


@every_case
def test_padding_behind_a_row_changes_nothing(
    kind: type[Architecture], options: dict[str, Any]
) -> None:
    model, x = build(kind, options).eval(), texts()
    together = model(x)
    for row, length, expected in zip(x, LENGTHS, together, strict=True):
        for padded in range(length, 13):
            alone = model(row[None, :padded])[0]
            torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)
    # The test above compares something only where the tokens themselves make a difference.
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@every_case
def test_rows_of_padding_alone_are_finite(
    kind: type[Architecture], options: dict[str, Any]
) -> None:
    model, x = build(kind, options), texts()
    for rows in (torch.zeros(2, 12, dtype=torch.int64), torch.cat((x, torch.zeros_like(x[:1])))):
        model.zero_grad()
        outputs = model(rows)
        assert outputs.isfinite().all()
        F.cross_entropy(outputs, torch.arange(len(rows)) % 3).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
    empty = torch.zeros(1, 12, dtype=torch.int64)
    model.eval()
    torch.testing.assert_close(model(empty), model(torch.cat((x, empty)))[-1:])


@every_case
def test_the_vector_of_padding_is_not_trained(
    kind: type[Architecture], options: dict[str, Any]
) -> None:
    model, x = build(kind, options), texts()
    model(x).square().sum().backward()
    (vectors,) = (m.weight for m in model.modules() if isinstance(m, nn.Embedding))
    assert vectors.grad is not None
    assert vectors.grad[0].abs().max() == 0
    assert vectors.grad[x[0]].abs().max() > 0


def test_the_last_state_is_that_of_the_last_token() -> None:
    model = build(RNN, {"hidden": 8, "bidirectional": True, "dense": ()})
    assert isinstance(model, RNN)
    reference = model.recurrent[0]
    x = texts()
    for row, length in zip(x, LENGTHS, strict=True):
        _, (state, _) = reference(model.view(row[None, :length]))
        expected = model.head(torch.cat((state[0], state[1]), 1))
        torch.testing.assert_close(model(row[None]), expected)


def test_attention_pooling_is_its_formula() -> None:
    pooling = AttentionPooling(4)
    h, mask = torch.randn(2, 5, 4), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    for row, count in ((0, 3), (1, 5)):
        real = h[row, :count]
        hidden = torch.tanh(real @ pooling.hidden.weight.T + pooling.hidden.bias)
        scores = (hidden @ pooling.score.weight.T).exp()
        expected = (scores / scores.sum() * real).sum(0)
        torch.testing.assert_close(pooling(h, mask)[row], expected)
    torch.testing.assert_close(pooling(h)[1], pooling(h, mask)[1])


def test_masks_of_attention_are_torchs_own() -> None:
    torch.manual_seed(0)
    block = EncoderBlock(8, 2, 2, nn.ReLU, "layer", True).eval()
    x, mask = torch.randn(3, 6, 8), torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    attention = block.attention[0]
    assert isinstance(attention, SelfAttention)
    reference = nn.MultiheadAttention(8, 2, batch_first=True)
    parts = (attention.query, attention.key, attention.value)
    biases = (attention.query.bias, torch.zeros(8), attention.value.bias)
    reference.load_state_dict(
        {
            "in_proj_weight": torch.cat([part.weight for part in parts]),
            "in_proj_bias": torch.cat(biases),
            "out_proj.weight": attention.output.weight,
            "out_proj.bias": attention.output.bias,
        }
    )
    expected = reference(x, x, x, key_padding_mask=~mask)[0]
    torch.testing.assert_close(attention(x, mask), expected)


def test_the_bag_of_embeddings_is_torchs_embedding_bag() -> None:
    model = build(BagOfEmbeddings, {"embedding": 6})
    assert isinstance(model, BagOfEmbeddings)
    assert model.view.tokens is not None
    x = texts()
    bags = F.embedding_bag(x, model.view.tokens.weight, mode="mean", padding_idx=0)
    torch.testing.assert_close(model(x), model.layers(bags))
    shuffled = x[:1, torch.randperm(12)]
    torch.testing.assert_close(model(shuffled), model(x[:1]))


def test_word_dropout_leaves_tokens_out_in_training_only() -> None:
    model = build(BagOfEmbeddings, {"word_dropout": 0.5})
    assert isinstance(model, BagOfEmbeddings)
    x = texts()
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_helpers_of_masks() -> None:
    mask = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]]).bool()
    assert lengths(mask).tolist() == [2, 2, 0]
    h = torch.arange(9.0).reshape(3, 3, 1)
    assert masked_mean(h, mask)[:, 0].tolist() == [0.5, 4.0, 0.0]
    assert masked_mean(h, None)[:, 0].tolist() == [1.0, 4.0, 7.0]
