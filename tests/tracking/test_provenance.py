import os
import subprocess
import sys
from importlib.metadata import distributions, version

import pytest
import torch

from dlframe.tracking.provenance import (
    environment,
    machine_tags,
    package_list,
    provenance_tags,
    requirements,
    version_tags,
)


def test_the_command_is_recorded_as_it_can_be_typed() -> None:
    tags = provenance_tags(command=["/opt/bin/dlframe", "train", "regularizer=[l1,l2]", "x=a b"])
    expected = "dlframe train 'regularizer=[l1,l2]' 'x=a b'"
    assert tags["mlflow.source.name"] == tags["dlframe.command"] == expected
    assert tags["mlflow.source.type"] == "LOCAL"


def test_no_environment_value_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush-value")
    command = ["dlframe", "train", "data.path=hush-hush-value", "x.password=secret-two"]
    found = str(provenance_tags(command)) + package_list() + str(environment())
    assert "hush-hush-value" not in found
    assert "secret-two" not in found
    assert "data.path=" in found


def test_only_the_numbers_of_a_slurm_job_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_SUBMIT_DIR", "/home/somebody/hidden-place")
    expected = {"job_id": "4711", "array_task_id": "3", "nodes": "node[1-2]"}
    assert environment()["slurm"] == expected
    tags = provenance_tags()
    assert tags["mlflow.source.type"] == "JOB"
    assert tags["dlframe.slurm.job_id"] == "4711"
    assert "hidden-place" not in str(tags) + str(environment())


def test_the_environment_says_what_may_change_the_last_bits() -> None:
    facts = environment()
    assert facts["threads"] == torch.get_num_threads()
    assert facts["interop_threads"] == torch.get_num_interop_threads()
    assert facts["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert facts["torch"] == torch.__version__
    assert facts["determinism"]["deterministic_algorithms"] is False
    assert facts["determinism"]["flush_denormal"] is False
    if torch.set_flush_denormal(True):
        assert environment()["determinism"]["flush_denormal"] is True
        torch.set_flush_denormal(False)


def test_machine_and_versions() -> None:
    tags = machine_tags() | version_tags()
    assert tags["dlframe.python"] == ".".join(map(str, sys.version_info[:3]))
    assert tags["dlframe.cores"] == str(len(os.sched_getaffinity(0)))
    for name in ("torch", "lightning", "mlflow", "dlframe"):
        assert tags[f"dlframe.version.{name}"] == version(name)


def test_the_package_list_names_every_distribution_once() -> None:
    lines = package_list().splitlines()
    assert lines == sorted({f"{d.name}=={d.version}" for d in distributions()}, key=str.lower)


def test_requirements_can_be_installed_from_an_index() -> None:
    lines = requirements()
    assert f"mlflow=={version('mlflow')}" in lines
    assert not any("+" in line for line in lines)


def test_it_imports_no_torch() -> None:
    code = (
        "import sys; from dlframe.tracking.provenance import provenance_tags as p; p();"
        "print(sorted({'torch', 'mlflow', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
