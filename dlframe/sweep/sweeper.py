"""Hydra's side of a sweep: its launcher starts the workers, whatever launcher that is."""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

__all__ = ["Launcher", "OptunaSweeper", "WorkerTask", "register"]


_PLACE = "hydra_plugins.dlframe"
"""Hydra 1.3 instantiates plugins of this package alone; 1.4 takes any."""


class _Conductor(Protocol):
    """What ``dlframe train`` gives Hydra to call."""

    def conduct(self, arguments: list[str], options: dict[str, Any], launch: "Launcher") -> Any:
        """Run a sweep."""


class OptunaSweeper(Sweeper):
    """Hands a multirun over to ``dlframe train``, together with Hydra's launcher.

    Args:
        options: of ``SweepOptions``, with ``sampler`` and ``pruner``.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {
            name: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for name, value in options.items()
        }
        self._context: HydraContext | None = None
        self._task: Any = None
        self._config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep.

        Args:
            arguments: the overrides, without Hydra's own.
        """
        assert self._context is not None
        assert self._config is not None
        conductor: _Conductor = self._task
        return conductor.conduct(arguments, self._options, Launcher(self._context, self._config))


OptunaSweeper.__module__ = _PLACE


@dataclass(frozen=True, slots=True)
class Launcher:
    """Hydra's launcher, whichever was chosen.

    Args:
        context: Hydra's.
        config: the composed config, with ``hydra``.
    """

    context: HydraContext
    config: DictConfig

    @property
    def name(self) -> str:
        """Name of its class."""
        return str(self.config.hydra.launcher._target_).rpartition(".")[2]

    @property
    def is_local(self) -> bool:
        """Whether it runs jobs one after another in this very process."""
        return self.name == "BasicLauncher"

    @property
    def many_machines(self) -> bool:
        """Whether its jobs may run on several machines."""
        return self.name in ("SlurmLauncher", "RayLauncher", "RayAWSLauncher")

    @property
    def one_machine(self) -> bool:
        """Whether its jobs share the cores of this machine."""
        return self.name in ("JoblibLauncher", "LocalLauncher")

    def __call__(
        self, task: Callable[[DictConfig], Any], overrides: Sequence[str], jobs: int, folder: Path
    ) -> None:
        """Have a function called in so many jobs at the same time; return after the last.

        Args:
            task: what each does with the config that ``overrides`` give; it is pickled.
            overrides: a trial's, which the launcher composes.
            jobs: how many.
            folder: where the launcher writes.

        Raises:
            Exception: what a job raised, or what the launcher makes of one that was killed.
        """
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder), "."
            # A job has no sweeper; options of one would be options of none.
            config.hydra.overrides.hydra = [
                text
                for text in config.hydra.overrides.hydra
                if not text.lstrip("+~").startswith(("hydra.sweeper", "hydra/sweeper"))
            ]
            if self.name == "JoblibLauncher" and config.hydra.launcher.n_jobs in (None, -1):
                config.hydra.launcher.n_jobs = jobs  # else as many as there are cores
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=task, config=config
        )
        for job in launcher.launch([list(overrides)] * jobs, initial_job_idx=0):
            if (
                job.status == JobStatus.FAILED
            ):  # ``return_value`` would print a first trial's overrides
                raise job._return_value


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a launcher's job does: run trials of a study.

    Args:
        name: of the study.
        storage: its address.
        threads: CPU threads of a trial.
        command: the command line, for the record of the runs.
        until: s since 1970 after which nothing goes on.
    """

    name: str
    storage: str
    threads: int | None
    command: tuple[str, ...]
    until: float

    def __call__(self, config: DictConfig) -> None:
        """Work until the study is over."""
        import optuna

        from dlframe.sweep.storage import open_storage
        from dlframe.sweep.worker import Worker

        study = optuna.load_study(study_name=self.name, storage=open_storage(self.storage))
        Worker(study, threads=self.threads, command=self.command, until=self.until).work()


def register() -> None:
    """Make Hydra know the sweeper; doing so twice is harmless."""
    plugins = Plugins.instance()
    if OptunaSweeper in plugins.discover(Sweeper):
        return
    # Not a file in that package: every other Hydra application would load it at each start.
    name = _PLACE.partition(".")[0]
    try:
        package = import_module(name)
    except ModuleNotFoundError:  # no plugin of Hydra's is installed
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = []
    module = sys.modules[_PLACE] = ModuleType(_PLACE)
    module.OptunaSweeper = OptunaSweeper  # type: ignore[attr-defined]
    setattr(package, _PLACE.partition(".")[2], module)
    plugins.register(OptunaSweeper)
