"""What every component must do, whatever its kind."""

import copy
import io
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from dlframe.config.compose import compose
from dlframe.config.options import check
from dlframe.config.signature import imported, load, parsed
from dlframe.plugin import BUILTIN, KINDS, registry
from dlframe.testing.case import Case, require, skip
from dlframe.testing.examples import clone

__all__ = ["CHECKS", "through_file", "weights_survive"]

_HEAVY = ("torch", "lightning", "mlflow", "optuna")
_IN_MEMORY = "(in memory)"


def listing_is_light(case: Case) -> None:
    """Loading the plugin's entry point imports no torch, lightning, mlflow or optuna."""
    if registry().plugin(case.entry.plugin).distribution == _IN_MEMORY:
        skip("the plugin is not installed")
    heavy = _imports_of_listing(case.entry.plugin)
    require(
        not heavy,
        f"listing the plugin imports {', '.join(heavy)}, which slows every command down: move the "
        "import out of the module of the hooks",
    )


@cache
def _imports_of_listing(plugin: str) -> tuple[str, ...]:
    found: list[str] = _in_new_process(
        "from dlframe.plugin import Registry\n"
        f"Registry(only=[{plugin!r}])\n"
        f"result = [name for name in {_HEAVY!r} if name in sys.modules]\n"
    )
    return tuple(found)


def _in_new_process(code: str) -> Any:
    """Run ``code``, which sets ``result`` to plain values, in a new interpreter; return them."""
    script = f"import json, sys\n{code}\nprint('\\n' + json.dumps(result))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    require(done.returncode == 0, f"a new process fails: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def import_changes_nothing(case: Case) -> None:
    """Importing the target leaves random numbers, default dtype and thread count as they were."""
    if registry().plugin(case.entry.plugin).distribution == _IN_MEMORY:
        skip("the plugin is not installed")
    changed = _changes_of_import(case.entry.plugin)
    require(not changed, f"importing the plugin's components changes {', '.join(changed)}")


@cache
def _changes_of_import(plugin: str) -> tuple[str, ...]:
    modules = sorted({e.component.target.partition(":")[0]
                      for e in registry().plugin(plugin).entries})  # fmt: skip
    found: list[str] = _in_new_process(
        "import random, lightning, numpy, torch\n"
        "def state():\n"
        "    return {'the seed of random': random.getstate(),\n"
        "            'the seed of numpy.random': str(numpy.random.get_state()),\n"
        "            'the seed of torch': torch.get_rng_state().tolist(),\n"
        "            'the default dtype': torch.get_default_dtype(),\n"
        "            'the number of threads': torch.get_num_threads()}\n"
        "before = state()\n"
        "from importlib import import_module\n"
        f"for module in {modules!r}: import_module(module)\n"
        "after = state()\n"
        "result = [name for name in before if before[name] != after[name]]\n"
    )
    return tuple(found)


def distribution_is_named_after_the_plugin(case: Case) -> None:
    """The plugin ``acme`` comes from the distribution ``dlframe-acme``, which requires dlframe."""
    plugin = registry().plugin(case.entry.plugin)
    if plugin.name == BUILTIN:
        return
    if plugin.distribution == _IN_MEMORY:
        skip("the plugin is not installed")
    own = re.sub(r"[-_.]+", "-", plugin.distribution).lower()
    name = re.sub(r"[-_.]+", "-", plugin.name).lower()
    require(
        own == f"dlframe-{name}",
        f"the plugin {plugin.name!r} must come from the distribution 'dlframe-{name}'; it comes from "
        f"{plugin.distribution!r}",
    )
    try:
        needed = requires(plugin.distribution) or []
    except PackageNotFoundError:
        needed = []
    require(
        any(re.match(r"dlframe(?![-\w])", line) for line in needed),
        f"{plugin.distribution} must require dlframe; add it to `dependencies` in pyproject.toml",
    )


def documented(case: Case) -> None:
    """The summary fits a line of ``dlframe ls``, and the target has a docstring."""
    component = case.entry.component
    require(
        len(component.summary) <= 100, f"the summary has {len(component.summary)} > 100 letters"
    )
    require(bool(load(case.entry).doc.strip()), f"{component.target} has no docstring")


def options_are_typed(case: Case) -> None:
    """Every option has a type and a text in the docstring's ``Args`` section."""
    for option in load(case.entry).options:
        require(
            option.hint is not Any,
            f"the option {option.name!r} has no type that a config can hold; annotate it",
        )
        require(
            bool(option.help),
            f"the option {option.name!r} is not described in the docstring's `Args:` section",
        )


def signature_is_static(case: Case) -> None:
    """Options read from the source are those read by importing it."""
    target = case.entry.component.target
    read = parsed(case.entry.kind, target)
    if read is None:
        skip("the options cannot be read from the source, so dlframe imports the target")
    found = imported(case.entry.kind, target)
    require(
        read.options == found.options and read.accepts == found.accepts,
        f"reading the source gives {read.options}, importing it gives {found.options}",
    )


def options_round_trip(case: Case) -> None:
    """Options go through Hydra's composition and a YAML file unchanged."""
    kind, many = case.entry.kind, KINDS[case.entry.kind].many
    config = compose([f"{kind}=[{case.entry.id}]" if many else f"{kind}={case.entry.id}"])
    place = f"{kind}.{case.entry.component.name}" if many else kind
    for name, value in case.options.items():
        OmegaConf.update(config, f"{place}.{name}", value)
    node = OmegaConf.select(config, place)
    assert isinstance(node, DictConfig)
    read = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(node)))
    assert isinstance(read, dict)
    wanted = case.node()
    require(read.pop("component") == wanted.pop("component"), "the component's id is lost")
    hints = {option.name: option.hint for option in load(case.entry).options}
    for name, value in wanted.items():
        back = check(f"{place}.{name}", read.get(name), hints[name])
        require(
            back == value, f"the option {name!r} goes in as {value!r} and comes out as {back!r}"
        )


CHECKS = (
    listing_is_light,
    import_changes_nothing,
    distribution_is_named_after_the_plugin,
    documented,
    options_are_typed,
    signature_is_static,
    options_round_trip,
)


def through_file(state: Any) -> Any:
    """Write ``state`` as checkpoints are written, and read it as safely as they are read."""
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def weights_survive(module: nn.Module, other: nn.Module, *inputs: torch.Tensor) -> None:
    """A deep copy, and another instance given the ``state_dict``, compute the same in evaluation.

    Args:
        module: the module.
        other: one made in the same way, whose weights may differ.
        inputs: what both are called with.
    """
    module.eval()
    wanted = _seeded(module, *inputs)
    require(torch.equal(_seeded(clone(module).eval(), *inputs), wanted), "a deep copy differs")
    state = through_file(copy.deepcopy(module.state_dict()))
    other.load_state_dict(state, strict=True)
    require(
        torch.equal(_seeded(other.eval(), *inputs), wanted),
        "another instance with the same state_dict computes other values: something that matters is "
        "neither a parameter nor a buffer",
    )


def _seeded(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        output: torch.Tensor = module(*inputs)
    return output
