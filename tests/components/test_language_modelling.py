"""Language models: causality, tokens' likelihoods against formulas, sampling, and a text learned."""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import dlframe
from dlframe.components.architectures.causal import CausalRNN, CausalTransformer
from dlframe.components.architectures.transformer import SelfAttention, rotate
from dlframe.components.data.text import Text
from dlframe.components.losses.cross_entropy import CrossEntropy
from dlframe.components.tasks.language_modelling import LanguageModelling
from dlframe.components.tasks.sampling import go_on, narrowed
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import Batch, LanguageModel, Spec
from dlframe.training.predictor import Predictor

VOCABULARY = 11


def spec(length: int = 8, characters: float = 0.0) -> Spec:
    return Spec(
        input="tokens",
        input_shape=(length,),
        output_size=VOCABULARY,
        task="language_modelling",
        vocabulary_size=VOCABULARY,
        characters_per_token=characters,
    )


def task(characters: float = 0.0, **options: Any) -> LanguageModelling:
    given = spec(characters=characters)
    return LanguageModelling(given, CrossEntropy(given), **options)


MODELS: list[tuple[type[LanguageModel], dict[str, Any]]] = [
    (CausalTransformer, {"width": 16}),
    (CausalTransformer, {"width": 16, "positions": "rotary", "tied": False, "depth": 1}),
    (CausalTransformer, {"width": 16, "normalization": "rms"}),
    (CausalRNN, {"hidden": 16}),
    (CausalRNN, {"hidden": 16, "cell": "gru", "layers": 2}),
]
every_model = pytest.mark.parametrize(("kind", "options"), MODELS, ids=str)


def build(kind: type[LanguageModel], options: dict[str, Any]) -> LanguageModel:
    torch.manual_seed(0)
    return kind(spec=spec(), activation=nn.GELU, **options).eval()


# --- networks ------------------------------------------------------------------------------------


@every_model
def test_later_tokens_change_no_earlier_logit(
    kind: type[LanguageModel], options: dict[str, Any]
) -> None:
    model, x = build(kind, options), torch.randint(1, VOCABULARY, (3, 8))
    logits = model(x)
    assert logits.shape == (3, 8, VOCABULARY)
    for place in range(8):
        changed = x.clone()
        changed[:, place] = changed[:, place] % (VOCABULARY - 1) + 1
        moved = (model(changed) - logits).abs().amax((0, 2)) > 1e-5
        assert not moved[:place].any()
        assert moved[place:].all()  # all later ones know of it
        torch.testing.assert_close(model(x[:, : place + 1]), logits[:, : place + 1])


@every_model
def test_the_place_of_a_token_makes_a_difference(
    kind: type[LanguageModel], options: dict[str, Any]
) -> None:
    model = build(kind, options)
    a, b = model(torch.tensor([[1, 2, 3]])), model(torch.tensor([[2, 1, 3]]))
    assert not torch.allclose(a[0, 2], b[0, 2], atol=1e-4)


def test_causal_attention_is_torchs_own() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(8, 2, causal=True), torch.randn(3, 6, 8)
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
    later = torch.ones(6, 6).triu(1).bool()
    torch.testing.assert_close(attention(x), reference(x, x, x, attn_mask=later)[0])


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = (rotate(v.expand(7, 6)) for v in torch.randn(2, 6))
    scores = q @ k.T
    for distance in range(-6, 7):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert scores[0].std() > 0.01
    turned = rotate(torch.tensor([[1.0, 0.0]] * 3))  # a pair alone turns by one radian a step
    torch.testing.assert_close(turned[2], torch.tensor([math.cos(2), math.sin(2)]))


def test_tied_weights_are_those_of_the_tokens() -> None:
    tied, own = (CausalTransformer(spec(), nn.GELU, tied=t) for t in (True, False))
    sizes = [sum(p.numel() for p in model.parameters()) for model in (tied, own)]
    assert sizes[1] - sizes[0] == VOCABULARY * 128


# --- the task ------------------------------------------------------------------------------------


def padded() -> Batch:
    x = torch.randint(1, VOCABULARY, (4, 8), generator=torch.Generator().manual_seed(0))
    return Batch(x * (torch.arange(8) < torch.tensor([8, 3, 1, 5])[:, None]), torch.zeros(4).long())


def by_hand(model: nn.Module, batch: Batch) -> tuple[list[float], list[bool]]:
    """Go through the rows token by token."""
    nats, hits = [], []
    for row in batch.x:
        real = row[row != 0]
        for place in range(len(real) - 1):
            shares = model(real[None, : place + 1])[0, -1].softmax(0)
            nats.append(-math.log(shares[real[place + 1]].item()))
            hits.append(shares.argmax().item() == real[place + 1].item())
    return nats, hits


@torch.no_grad()
def test_likelihoods_are_those_of_each_token_by_hand() -> None:
    model, raw = build(*MODELS[0]), padded()
    nats, hits = by_hand(model, raw)
    assert len(nats) == 7 + 2 + 0 + 4
    for characters, name in ((0.0, "bits_per_token"), (2.5, "bits_per_character")):
        made = task(characters)
        batch = made.prepare(raw)
        loss, predictions = made.evaluate(model, batch)
        assert predictions.shape == (4, 7, 2)
        assert loss.item() == pytest.approx(np.mean(nats), rel=1e-5)
        assert made.step(model, batch, "model").loss.item() == pytest.approx(loss.item())
        metrics = made.metrics("test")
        for part, y in zip(predictions.split(3), batch.y.split(3), strict=True):  # type: ignore[no-untyped-call]
            metrics.update(part, y)
        values = {key: float(value) for key, value in metrics.compute().items()}
        bits = np.mean(nats) / math.log(2) / (characters or 1)
        assert values == pytest.approx(
            {name: bits, "perplexity": math.exp(np.mean(nats)), "accuracy": np.mean(hits)}, rel=1e-5
        )
        figure = made.figures(predictions, batch.y)["by_context"]
        assert figure.axes[0].lines[0].get_xydata()[:, 0].tolist() == list(range(1, 8))  # type: ignore[union-attr,index]


def test_texts_of_one_token_ask_for_nothing() -> None:
    model, made = build(*MODELS[0]), task()
    batch = made.prepare(Batch(torch.tensor([[3, 0, 0], [5, 0, 0]]), torch.zeros(2).long()))
    step = made.step(model, batch, "model")
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert step.loss.item() == 0
    metrics = made.metrics("val")
    metrics.update(made.evaluate(model, batch)[1], batch.y)
    assert all(math.isnan(value) for value in metrics.compute().values())


@pytest.mark.parametrize("kind", ["character", "byte", "bpe", "word"])
def test_characters_per_token_are_counted_in_the_training_part(kind: Any, tmp_path: Path) -> None:
    text = "Straße und Gasse, Straße und Straße. " * 20
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    data = Text(path=str(tmp_path / "a.txt"), block=len(text), tokenizer=kind, vocabulary_size=270)
    made = data.preprocessor()
    made.fit(data.load().x)
    (row,) = made.transform(data.load().x)
    expected = 0.0 if kind == "word" else len(text) / int((row != 0).sum())
    assert made.facts()["characters_per_token"] == expected
    assert kind not in ("character", "byte") or expected == pytest.approx(
        1.0 if kind == "character" else len(text) / len(text.encode())
    )


# --- sampling ------------------------------------------------------------------------------------


def test_draws_are_narrowed_as_told() -> None:
    shares = torch.tensor([[0.3, 0.05, 0.35, 0.1, 0.2]])  # of which the first is padding
    logits = shares.log() + 3
    kept = shares[0, 1:] / 0.7

    def found(temperature: float, top_k: int | None, top_p: float) -> list[float]:
        chances: list[float] = narrowed(logits, temperature, top_k, top_p)[0].tolist()
        assert chances[0] == 0
        return chances[1:]

    assert found(1, None, 1) == pytest.approx(kept.tolist())
    cold = kept.square() / kept.square().sum()
    assert found(0.5, None, 1) == pytest.approx(cold.tolist())
    for greedy in (found(0, None, 1), found(1, 1, 1), found(1, None, 0.4), found(1e-9, None, 1)):
        assert greedy == [0, 1, 0, 0]
    assert found(1, 2, 1) == pytest.approx([0, 0.35 / 0.55, 0, 0.2 / 0.55])
    assert found(1, None, 0.6) == pytest.approx([0, 0.35 / 0.55, 0, 0.2 / 0.55])
    assert found(1, 3, 0.9) == pytest.approx([0, 0.35 / 0.65, 0.1 / 0.65, 0.2 / 0.65])
    assert found(1, 99, 1) == pytest.approx(kept.tolist())


class Table(LanguageModel):
    """A bigram model: the next token is drawn by a row of a table."""

    def __init__(self, chances: Tensor) -> None:
        super().__init__()
        self.chances = chances

    def forward(self, x: Tensor) -> Tensor:
        return self.chances.log()[x]


def test_texts_go_on_from_their_last_token() -> None:
    after = torch.eye(4)[[0, 2, 3, 1]]  # 1, 2, 3, 1, ...
    prompts = torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0], [2, 3, 1, 2]])
    options: dict[str, Any] = {"temperature": 1.0, "top_k": None, "top_p": 1.0, "seed": 0}
    for window in (1, 3):
        rows = go_on(Table(after), prompts, length=3, window=window, **options)
        assert rows.tolist() == [
            [1, 2, 3, 1, 2, 0, 0], [3, 1, 2, 3, 0, 0, 0], [2, 3, 1, 2, 3, 1, 2]
        ]  # fmt: skip
    assert go_on(Table(after), prompts[:0], length=3, window=3, **options).shape == (0, 7)
    with pytest.raises(DataError, match="at least one token; that of row 1 is empty"):
        go_on(Table(after), prompts * torch.tensor([[1], [0], [1]]), length=1, window=3, **options)


def test_draws_have_the_networks_frequencies_and_a_seed() -> None:
    chances = torch.tensor([0.0, 0.5, 0.3, 0.2]).expand(4, 4)
    prompts, options = torch.ones(4000, 1, dtype=torch.int64), {"top_k": None, "top_p": 1.0}
    found = [
        go_on(Table(chances), prompts, length=1, window=1, temperature=1.0, seed=s, **options)  # type: ignore[arg-type]
        for s in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    counts = torch.bincount(found[0][:, 1], minlength=4) / 4000
    torch.testing.assert_close(counts, chances[0], atol=0.03, rtol=0)


# --- a text, from training to prediction ---------------------------------------------------------

LINE = "round and round the rugged rock the ragged rascal ran. "


def bits_of_pairs(text: str) -> float:
    """Bits per character of the bigram model that fits this very text best."""
    pairs, firsts = Counter(pairwise(text)), Counter(text[:-1])
    total = sum(pairs.values())
    return -sum(n / total * math.log2(n / firsts[a]) for (a, _), n in pairs.items())


@pytest.mark.parametrize(
    "architecture",
    [
        ["architecture=causal_transformer", "architecture.width=32", "architecture.depth=2"],
        ["architecture=causal_rnn", "architecture.hidden=64"],
    ],
    ids=["transformer", "lstm"],
)
def test_a_text_is_learned_and_goes_on(
    architecture: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rock.txt").write_text(LINE * 120)
    run = dlframe.train(
        "data=text", "data.path=rock.txt", "data.block=64", "data.batch_size=8", *architecture,
        "optimizer.lr=0.01", "trainer.max_epochs=12", "task.temperature=0.3", "task.length=40",
        "tracking.enabled=false",
    )  # fmt: skip
    bits = run.metrics["test/bits_per_character"]
    assert bits < 0.4 * bits_of_pairs(LINE * 120) < 0.1 * math.log2(len(set(LINE)))
    assert run.metrics["test/perplexity"] == pytest.approx(2**bits, rel=1e-4)
    assert run.metrics["test/loss"] == pytest.approx(bits * math.log(2), rel=0.05)
    assert run.metrics["test/accuracy"] > 0.9
    model = Predictor.from_folder(run.folder)
    Path("prompts.txt").write_text("the rugged\nragged ras\n")
    table = model.predict_frame(model.read(Path("prompts.txt")))
    assert table["text"].tolist() == [(LINE * 3)[16:66], (LINE * 3)[36:86]]
    assert model.predict_frame(np.array(["the rugged", "ragged ras"])).equals(table)
    with pytest.raises(DataError, match="a prompt needs at least one token"):
        model.predict(pd.DataFrame({"text": ["a", ""]}))


# --- bad input: one sentence each ----------------------------------------------------------------


def test_what_is_no_text_is_refused() -> None:
    table = Spec(input="features", input_shape=(4,), output_size=4, task="language_modelling")
    with pytest.raises(
        ConfigError, match="needs tokens and the data gives features; use data=text"
    ):
        LanguageModelling(table, CrossEntropy(table))
    for kind in (CausalTransformer, CausalRNN):
        with pytest.raises(ConfigError, match="needs tokens and the data gives features"):
            kind(table, nn.GELU)
    short = spec(length=1)
    with pytest.raises(ConfigError, match="rows of at least 2 tokens"):
        LanguageModelling(short, CrossEntropy(short))


def test_options_that_do_not_fit_are_refused() -> None:
    weighted = CrossEntropy(spec(), class_weights=[1.0] * VOCABULARY)
    with pytest.raises(ConfigError, match=r"leave loss\.class_weights out"):
        LanguageModelling(spec(), weighted)
    with pytest.raises(ConfigError, match="use width=12"):
        CausalTransformer(spec(), nn.GELU, width=10)
    with pytest.raises(ConfigError, match=r"even number of values in each head.*use width=16"):
        CausalTransformer(spec(), nn.GELU, width=12, positions="rotary")
