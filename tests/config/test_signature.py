"""Options are read from signatures: from the source where that is certain, else by import."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from annotated_types import Ge, Gt, Lt
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from dlframe.config.options import REQUIRED, Option, check, describe, is_supported
from dlframe.config.signature import dataclass_options, imported, load, parsed, signature_of
from dlframe.config.source import ComponentSource, node_of
from dlframe.errors import BrokenPluginError
from dlframe.interfaces.options import DataOptions, Range
from dlframe.plugin import Component, Entry, registry

BUILT_IN = [entry for entry in registry().entries() if entry.plugin == "dlframe"]
FOREIGN = [
    *[("optimizer", f"torch.optim:{name}") for name in torch.optim.__all__
      if inspect.isclass(getattr(torch.optim, name, None)) and name != "Optimizer"],
    *[("loss", f"torch.nn:{name}") for name in torch.nn.modules.loss.__all__],
    *[("activation", f"torch.nn:{name}") for name in torch.nn.modules.activation.__all__],
    *[("scheduler", f"torch.optim.lr_scheduler:{name}") for name in (
        "StepLR", "ConstantLR", "LinearLR", "ExponentialLR", "CosineAnnealingLR", "OneCycleLR",
        "ReduceLROnPlateau", "CyclicLR")],
]  # fmt: skip


def options(kind: str, target: str) -> dict[str, Option]:
    return {option.name: option for option in signature_of(kind, target).options}


def write(folder: Path, text: str, name: str = "written") -> str:
    """Write a module for one test and return the prefix of targets in it."""
    (folder / f"{name}.py").write_text(text)
    return f"{name}:"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on ``sys.path``, whose modules are forgotten after the test."""
    from dlframe.config import signature

    monkeypatch.syspath_prepend(tmp_path)
    for cache in (signature._source, signature.signature_of):
        cache.cache_clear()
    for name in ("written", "base", "package", "package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


# --- the built-ins --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry", BUILT_IN, ids=lambda entry: f"{entry.kind}/{entry.component.name}"
)
def test_parsing_says_what_importing_says(entry: Entry) -> None:
    found = parsed(entry.kind, entry.component.target)
    assert found is not None, "the signature cannot be read without importing torch"
    assert found == imported(entry.kind, entry.component.target)


def test_every_option_of_the_built_ins_is_typed_documented_and_valid() -> None:
    for entry in BUILT_IN:
        for option in load(entry).options:
            key = f"{entry.kind}/{entry.component.name}.{option.name}"
            assert option.help, f"{key} has no help"
            assert option.hint is not Any, f"{key} has no type"
            assert is_supported(option.hint), key
            if option.default is not REQUIRED:
                held = check(key, option.default, option.hint)
                assert held == option.default
                assert type(held) is type(option.default), f"{key}={option.default!r}"


def test_parsing_all_built_ins_imports_nothing_heavy() -> None:
    script = """
import sys
from dlframe.config.signature import parsed
from dlframe.plugin import registry

for entry in registry().entries():
    assert parsed(entry.kind, entry.component.target), entry
print(*sorted({"torch", "numpy", "pandas", "lightning", "mlflow", "sklearn"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={"DLFRAME_PLUGINS": "", "PATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_data_gets_the_common_options_after_its_own() -> None:
    names = [option.name for option in load(registry().find("data", "csv")).options]
    common = [option.name for option in dataclass_options(DataOptions)]
    assert names[-len(common) :] == common
    assert names[0] == "path"


# --- third-party classes --------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "target"), FOREIGN, ids=lambda value: value.partition(":")[2])
def test_torch_classes_get_a_schema_with_their_defaults(kind: str, target: str) -> None:
    name = target.partition(":")[2]
    module = sys.modules[target.partition(":")[0]]
    expected = inspect.signature(getattr(module, name)).parameters.values()
    found = options(kind, target)
    passed_in = {"params", "optimizer", "total_steps", "steps_per_epoch"}
    own = [p.name for p in expected if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert [name for name in own if name not in passed_in] == list(found)
    for parameter in expected:
        if parameter.name in found:
            option = found[parameter.name]
            node = node_of(option)
            if parameter.default is inspect.Parameter.empty:
                assert option.default is REQUIRED
                continue
            held = OmegaConf.to_container(OmegaConf.create({"x": node}))
            assert isinstance(held, dict)
            plain = parameter.default
            assert held["x"] == (list(plain) if isinstance(plain, tuple) else plain)


@pytest.mark.parametrize(
    "name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam", "Adadelta"]
)
def test_float_or_tensor_is_a_float_whatever_the_default(name: str) -> None:
    found = options("optimizer", f"torch.optim:{name}")
    assert describe(found["lr"].hint) == "float"
    assert describe(found["weight_decay"].hint) == "float"
    assert check("weight_decay", 1, found["weight_decay"].hint) == 1.0


def test_a_tuple_of_float_or_tensor_keeps_its_length() -> None:
    assert describe(options("optimizer", "torch.optim:Adam")["betas"].hint) == "[float, float]"


# --- forms of signatures --------------------------------------------------------------------------


def test_a_function_class_and_inherited_initializer_read_alike(folder: Path) -> None:
    write(folder, "class Base:\n    def __init__(self, *, size: int = 3): ...\n", "base")
    prefix = write(
        folder,
        "import base\nfrom base import Base\n"
        "class Child(Base): ...\n"
        "class Dotted(base.Base): ...\n"
        "class Own(Base):\n    def __init__(self, *, size: int = 3): ...\n"
        "class Bare: ...\n"
        "def made(*, size: int = 3): ...\n",
    )
    for name in ("Child", "Dotted", "Own", "made"):
        found = parsed("activation", prefix + name)
        assert found is not None, name
        assert [(o.name, o.hint, o.default) for o in found.options] == [("size", int, 3)]
        assert found == imported("activation", prefix + name)
    bare = parsed("activation", prefix + "Bare")
    assert bare == imported("activation", prefix + "Bare")
    assert bare is not None
    assert bare.options == ()


def test_re_exports_and_relative_imports_are_followed(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from .inner import Thing as Other\n")
    (folder / "package" / "inner.py").write_text(
        "from typing import Annotated as A, Literal\n"
        "from dlframe.interfaces.options import Gt, Range\n"
        "class Thing:\n"
        "    def __init__(self, *, rate: A[float, Gt(0), Range(1e-3, 1.0, log=True)] = 0.1,\n"
        "                 mode: Literal['a', 'b'] | None = None,\n"
        "                 sizes: tuple[int, ...] = (1, 2)): ...\n"
    )
    found = parsed("activation", "package:Other")
    assert found is not None
    assert found == imported("activation", "package:Other")
    rate, mode, sizes = found.options
    assert get_args(rate.hint) == (float, Gt(0), Range(1e-3, 1.0, log=True))
    assert rate.range == Range(1e-3, 1.0, log=True)
    assert mode.hint == Literal["a", "b"] | None
    assert sizes.default == (1, 2)


@pytest.mark.parametrize(
    "source",
    [
        "import functools\n@functools.cache\ndef x(*, a: float = 1.0): ...",
        "HALF = 0.5\ndef x(*, a: float = HALF + HALF): ...",
        "import numpy as np\ndef x(*, a: 'float | np.ndarray' = 1.0): ...",
        "def y(*, a: float = 1.0): ...\nx = y",
        "class x:\n    def __new__(cls, *, a: float = 1.0): return object.__new__(cls)",
        "from dataclasses import dataclass\n@dataclass\nclass x:\n    a: float = 1.0",
        "if 1 > 0:\n    def x(*, a: float = 1.0): ...",
    ],
    ids=["decorator", "expression", "numpy", "alias", "new", "dataclass", "conditional"],
)
def test_what_parsing_cannot_be_sure_of_is_imported(folder: Path, source: str) -> None:
    prefix = write(folder, source)
    assert parsed("activation", prefix + "x") is None
    found = options("activation", prefix + "x")
    assert list(found) == ["a"]
    assert (found["a"].hint, found["a"].default) == (float, 1.0)


def test_without_annotation_the_default_says_the_type(folder: Path) -> None:
    prefix = write(folder, "def x(*, a=1.0, b=None, c='t', d=(1, 2), e=True): ...\n")
    found = options("activation", prefix + "x")
    assert [o.hint for o in found.values()] == [float, Any, str, tuple, bool]


def test_runtime_arguments_are_no_options(folder: Path) -> None:
    prefix = write(
        folder,
        "def net(spec, activation, *, width: int = 8): ...\n"
        "def any(params, lr: float = 0.1, **rest): ...\n",
    )
    found = signature_of("architecture", prefix + "net")
    assert [o.name for o in found.options] == ["width"]
    assert found.accepts == frozenset({"spec", "activation", "width"})
    loose = signature_of("optimizer", prefix + "any")
    assert [o.name for o in loose.options] == ["lr"]
    assert loose.accepts is None


@pytest.mark.parametrize(
    "source",
    [
        "from dlframe.interfaces import Loss\nclass x(Loss): ...",
        "from torch.nn import Module\ndef same(cls): return cls\n@same\nclass x(Module): ...",
        "import torch\nx = torch.nn.Tanh",
    ],
)
def test_a_module_without_initializer_takes_nothing(folder: Path, source: str) -> None:
    prefix = write(folder, source + "\n")
    for found in (signature_of("loss", prefix + "x"), imported("loss", prefix + "x")):
        assert found.options == ()
        assert found.accepts == frozenset(), "torch.nn.Module declares **kwargs and refuses them"


def test_a_default_that_no_config_can_hold_is_left_to_the_component(folder: Path) -> None:
    prefix = write(folder, "import torch\ndef x(*, dtype=torch.float32, a: int = 1): ...\n")
    assert list(options("activation", prefix + "x")) == ["a"]


def test_help_comes_from_the_docstring_of_class_and_initializer(folder: Path) -> None:
    prefix = write(
        folder,
        '''
class x:
    """One line.

    Args:
        a: the first,
            over two lines.
        b (int, optional): the second: with a colon.

    Raises:
        ValueError: never.
    """

    def __init__(self, *, a: int = 1, b: int = 2, c: int = 3):
        """Make it.

        Args:
            c: the third.
        """
''',
    )
    found = options("activation", prefix + "x")
    assert [o.help for o in found.values()] == [
        "the first, over two lines.", "the second: with a colon.", "the third.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere_to_be_found:X", "ModuleNotFoundError"),
        ("written:missing", "AttributeError"),
        ("written:x", "RuntimeError: no licence"),
    ],
)
def test_a_component_that_cannot_be_loaded_names_itself(
    folder: Path, target: str, reason: str
) -> None:
    broken = "raise RuntimeError('no licence')\n" if target == "written:x" else ""
    write(folder, broken + "import json\n@json.dumps\ndef x(): ...\n" if broken else "")
    entry = Entry("activation", "acme", Component(name="glow", target=target, summary="s"))
    with pytest.raises(
        BrokenPluginError, match="activation 'acme/glow' cannot be loaded"
    ) as caught:
        load(entry)
    assert reason in str(caught.value)


def test_dataclass_fields_are_options() -> None:
    found = {option.name: option for option in dataclass_options(DataOptions)}
    assert get_args(found["validation"].hint) == (float, Gt(0), Lt(1))
    assert found["batch_size"].default == 64
    assert "all" in describe(found["batch_size"].hint)
    assert found["split_seed"].help.startswith("seed of the splits")
    assert get_args(found["split_seed"].hint) == (int, Ge(0), Lt(2**32))


def test_listing_names_needs_no_signature() -> None:
    source = ComponentSource(provider="test", path="dlframe://components")
    assert source.list("optimizer", ObjectType.CONFIG) == sorted(registry().names("optimizer"))
