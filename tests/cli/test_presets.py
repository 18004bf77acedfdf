"""Every file of ``conf/`` composes and, made small, runs."""

from pathlib import Path

import pytest
import torch

import dlframe
from dlframe.config.source import CONF
from dlframe.errors import ConfigError

FILES = sorted(str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml"))
SMALL = (
    "trainer.max_epochs=1", "trainer.limit_train=2", "trainer.limit_eval=1",
    "tracking.enabled=false",
)  # fmt: skip
RUN: dict[str, tuple[str, ...]] = {
    "config": (*SMALL,),
    "debug/one_batch": (),
    "debug/overfit": ("trainer.max_epochs=2",),
    "debug/profiler": (*SMALL, "trainer.limit_train=3"),
    "experiment/ag_news": (*SMALL, "data.limit=600"),
    "experiment/activation_study": (*SMALL,),
    "experiment/denoising_autoencoder": (*SMALL,),
    "experiment/mnist_cnn": (*SMALL, "data.limit=600"),
    "experiment/regularized_mlp": (*SMALL,),
    "experiment/wgan_gp": (*SMALL,),
    "trainer/cpu": (*SMALL,),
}
ELSEWHERE = {
    "trainer/ddp": "needs several devices; composed here",
    "trainer/ddp_cpu": "run in test_ddp.py",
    "trainer/gpu": "needs a GPU; its refusal without one is tested here",
    **{
        name: "says how to search, in test_searches.py"
        for name in FILES
        if name.startswith("sweep/")
    },
}


def choice(name: str) -> list[str]:
    group, _, file = name.rpartition("/")
    return [f"{group}={file}"] if group else []


def test_every_file_is_run_or_says_where() -> None:
    assert sorted([*RUN, *ELSEWHERE]) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_preset_composes_and_says_what_it_is_for(name: str) -> None:
    default, config = dlframe.compose(), dlframe.compose(*choice(name))
    assert set(config) == set(default)
    assert (config == default) == (name == "config" or name.startswith("sweep/"))
    comments = [x for x in (CONF / f"{name}.yaml").read_text().splitlines() if x.startswith("#")]
    assert [x for x in comments if "@package" not in x] or name == "trainer/cpu"


@pytest.mark.parametrize("name", RUN)
def test_a_preset_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [*choice(name), *RUN[name]]
    if "mnist" in name:
        overrides.append(f"data.root={request.getfixturevalue('shared_data') / 'mnist'}")
    if "ag_news" in name:
        data = request.getfixturevalue("shared_data") / "ag_news" / "news.csv"
        overrides.append(f"data.path={data}")
    run = dlframe.train(*overrides)
    assert run.status == "FINISHED"
    assert [key for key in run.metrics if key.startswith("test/")]
    if name == "debug/profiler":
        assert list(run.folder.glob("*profile*")), "the report was not written"
    if name.startswith("debug"):
        assert not (run.folder / "checkpoints").exists() or name == "debug/profiler"


def test_the_overfit_preset_trains_and_tests_on_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = dlframe.train("debug=overfit")
    assert run.metrics["test/accuracy"] == 1.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_preset_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="`dlframe doctor` lists the devices"):
        dlframe.train("trainer=gpu")
    assert list(tmp_path.iterdir()) == []
