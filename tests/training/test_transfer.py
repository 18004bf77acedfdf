"""Beginning with another run's weights: what is loaded, what is refused, and what is said."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import dlframe
from dlframe.cli.train_from import begun_from
from dlframe.config.validate import effective, validate
from dlframe.errors import CheckpointError, ConfigError, DlframeError, RunNotFoundError
from dlframe.sweep.storage import journal_of, open_storage
from dlframe.training.checkpoint import digest, read
from dlframe.training.prepare import CHECKPOINT, Parts, network_weights, prepare
from dlframe.training.replay import replay
from dlframe.training.transfer import begin_with, load_parts, pin

QUICK = ("trainer.max_epochs=1", "tracking.offline=true", "tracking.wait=0", "tracking.figures=false",
         "tracking.log_model=false", "tracking.sample_every=null")  # fmt: skip
CNN = ("architecture=cnn", "architecture.channels=[4,8]")


def weights_of(folder: Path) -> dict[str, Tensor]:
    return network_weights(read(folder / CHECKPOINT))


def begun(root: Path, *overrides: str) -> Parts:
    """Everything that a training has before its first step."""
    config = validate(dlframe.compose(f"tracking.root={root}", *overrides))
    pin(config)
    parts = prepare(config)
    begin_with(parts)
    return parts


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def low(root: Path) -> dlframe.Run:
    """A network trained to tell the digits 0 to 5."""
    pixels, digits = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.float32)
    chosen = digits <= 5
    data = (images[chosen], digits[chosen])
    return dlframe.train(*QUICK, *CNN, f"tracking.root={root}", data=data)


@pytest.fixture(scope="module")
def coder(root: Path) -> dlframe.Run:
    """A convolutional autoencoder of the digits."""
    return dlframe.train(
        *QUICK, "architecture=autoencoder", "architecture.kind=conv", "architecture.channels=[4,8]",
        f"tracking.root={root}",
    )  # fmt: skip


def test_a_part_begins_as_the_other_run_ended(root: Path, low: dlframe.Run) -> None:
    source = weights_of(low.folder)
    options = (*CNN, f"transfer.run={low.id[-6:]}", "transfer.parts=[features]")
    parts = begun(root, *options)
    drawn = prepare(validate(dlframe.compose(*CNN))).network.state_dict()
    for name, value in parts.network.state_dict().items():
        assert torch.equal(value, source[name] if "features" in name else drawn[name]), name
    assert parts.config["transfer"]["run"] == low.id
    assert parts.config["transfer"]["sha256"] == digest(low.folder / CHECKPOINT)
    flat = effective(parts.config)
    assert flat["transfer.run"] == low.id
    assert "transfer.sha256" not in flat
    assert "transfer.run" not in effective(dlframe.compose())


def test_the_run_is_recorded_with_its_origin_and_can_be_replayed(
    root: Path, low: dlframe.Run, tmp_path: Path
) -> None:
    pixels, digits = load_digits(return_X_y=True)
    chosen = digits > 5
    np.savez(tmp_path / "high.npz", x=pixels[chosen].reshape(-1, 1, 8, 8), y=digits[chosen])
    run = dlframe.train(
        *QUICK, *CNN, "data=npz", f"data.path={tmp_path / 'high.npz'}", f"tracking.root={root}",
        f"transfer.run={low.id}", "transfer.parts=[features]", "trainer.freeze=[features]",
    )  # fmt: skip
    before, after = weights_of(low.folder), weights_of(run.folder)
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("features"))
    origin = json.loads((run.folder / "transfer.json").read_text())
    assert origin["run"] == low.id
    assert origin["sha256"] == digest(low.folder / CHECKPOINT)
    assert sorted(origin["loaded"]) == sorted(k for k in before if k.startswith("features"))
    again = replay(run.folder, root=tmp_path / "elsewhere")
    assert (again.equal, again.parting) == (again.compared, None)
    assert (again.run.folder / "transfer.json").read_text() == (
        run.folder / "transfer.json"
    ).read_text()


def test_an_encoder_becomes_the_features_of_a_classifier(root: Path, coder: dlframe.Run) -> None:
    source = weights_of(coder.folder)
    rename = f"transfer.run={coder.id}", "transfer.parts=[encoder.layers:features]"
    network = begun(root, *CNN, *rename).network.state_dict()
    names = [name for name in network if name.startswith("features.")]
    assert len(names) == 4
    for name in names:
        assert torch.equal(network[name], source[name.replace("features", "encoder.layers")])


def test_what_does_not_fit_is_refused_or_left_and_said(
    root: Path, low: dlframe.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*CNN, f"transfer.run={low.id}")
    with pytest.raises(ConfigError) as refused:
        begun(root, *options)
    assert str(refused.value) == (
        f"the weights of run '{low.id}' do not fit this network (classifier.5.weight is [6, 64] there "
        "and [10, 64] here, classifier.5.bias is [6] there and [10] here); load what fits with "
        "transfer.strict=fitting, or name parts that do, as transfer.parts=[features]"
    )
    parts = begun(root, *options, "transfer.strict=fitting")
    assert parts.origin is not None
    parts.origin.tell()
    assert capsys.readouterr().err == (
        f"dlframe: 6 tensors begin as those of run {low.id}; left as they were initialized: "
        "classifier.5.weight is [6, 64] there and [10, 64] here, classifier.5.bias is [6] there and "
        "[10] here\n"
    )
    drawn = prepare(validate(dlframe.compose(*CNN))).network.state_dict()
    now, source = parts.network.state_dict(), weights_of(low.folder)
    assert torch.equal(now["classifier.5.weight"], drawn["classifier.5.weight"])
    assert torch.equal(now["classifier.2.weight"], source["classifier.2.weight"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["transfer.parts=[featres]"], "transfer.parts names 'featres', and run .* has no such part "
         "with weights; did you mean 'features'"),
        (["transfer.parts=[features:body]"], "transfer.parts names 'body', and the network has no such "
         "part with weights; its parts are features, classifier, and what is in them"),
        (["transfer.parts=[features.*:body]"], "takes theirs:ours without patterns"),
        (["transfer.parts=[features:]"], "takes theirs:ours without patterns.*got 'features:'"),
        (["architecture.channels=[5]", "transfer.strict=fitting", "transfer.parts=[features]"],
         "nothing of run .* fits this network .*features.0.weight is .4, 1, 3, 3. there and "
         ".5, 1, 3, 3. here"),
        (["architecture.channels=[4,8,8]", "transfer.parts=[features]"],
         "do not fit this network .features.6.weight is not there, features.6.bias is not there.; load "
         "what fits with transfer.strict=fitting$"),
        (["transfer.sha256=abc"], "are not those to begin with .SHA-256 .*, wanted abc.; restore"),
        (["transfer.run=last"], r"write \+from=last on the command line"),
        (["transfer.run=null", "transfer.parts=[features]"], r"name that with \+from=<run>"),
        (["transfer.run=none-such"], "no run answers to 'none-such'"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(
    root: Path, low: dlframe.Run, overrides: list[str], said: str
) -> None:
    with pytest.raises(DlframeError, match=said) as found:
        begun(root, *CNN, f"transfer.run={low.id}", *overrides)
    assert "\n" not in str(found.value)


def test_a_run_without_weights_or_with_damaged_ones(low: dlframe.Run, tmp_path: Path) -> None:
    copy = tmp_path / low.id
    shutil.copytree(low.folder, copy)
    config = validate(dlframe.compose(f"tracking.root={tmp_path}", f"transfer.run={low.id}"))
    os.truncate(copy / CHECKPOINT, 1000)
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256 is not the one in"):
        pin(config)
    (copy / CHECKPOINT).unlink()
    with pytest.raises(
        RunNotFoundError, match=r"kept no weights to begin with .* choose another run"
    ):
        pin(config)


def test_patterns_and_tied_weights() -> None:
    def made() -> nn.Sequential:
        network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.BatchNorm1d(3))
        network[2].weight = network[0].weight
        return network

    ours, theirs = made(), made()
    loaded, left = load_parts(ours, theirs.state_dict(), parts=["[03]"], run="r")
    assert left == []
    assert sorted(loaded) == ["0.bias", "0.weight", "3.bias", "3.num_batches_tracked",
                              "3.running_mean", "3.running_var", "3.weight"]  # fmt: skip
    now, source = ours.state_dict(), theirs.state_dict()
    assert torch.equal(now["2.weight"], source["2.weight"])
    assert not torch.equal(now["2.bias"], source["2.bias"])


def test_the_command_line_tells_runs_from_studies(root: Path, low: dlframe.Run) -> None:
    place = f"tracking.root={root}"
    # What was trained last has the latest id.
    assert begun_from([f"+from={low.id}", place]) == ([f"transfer.run={low.id}", place], None)
    assert begun_from([place]) == ([place], None)
    with pytest.raises(ConfigError, match="no study is called 'nothing', and no run answers to"):
        begun_from(["+from=nothing", place])
    with pytest.raises(ConfigError, match=r"given twice; leave out .from=last or transfer.run"):
        begun_from(["+from=last", "transfer.run=x", place])
    with pytest.raises(ConfigError, match=r"one study or run; got .from=a and .from=b"):
        begun_from(["+from=a", "+from=b", place])
    with pytest.raises(ConfigError, match=r"takes one name; got .from=a,b: give several runs as"):
        begun_from(["+from=a,b", place])


def test_a_word_that_is_both_a_study_and_a_run_is_refused(low: dlframe.Run, tmp_path: Path) -> None:
    shutil.copytree(low.folder, tmp_path / low.id)
    name, place = low.id[:11], f"tracking.root={tmp_path}"
    (tmp_path / "studies" / name).mkdir(parents=True)
    storage = open_storage(journal_of(name, tmp_path))
    optuna.create_study(study_name=name, storage=storage)
    with pytest.raises(
        ConfigError, match=f"is both the study '{name}' and the run '{low.id}'; give"
    ):
        begun_from([f"+from={low.id[:8]}", place])
    # Too short for a run's name.
    with pytest.raises(ConfigError, match=f"the study '{name}' was not made by dlframe"):
        begun_from([f"+from={name[:3]}", place])
