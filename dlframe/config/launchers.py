"""Hydra's launchers: which package brings each, said where it is not installed."""

from importlib.util import find_spec

from dlframe.errors import ConfigError, did_you_mean

__all__ = ["check_launcher"]

_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "ray_aws": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
}


def check_launcher(name: str) -> None:
    """Make sure that a launcher is installed, if it is one of those that are well known.

    Raises:
        ConfigError: it is not, or is called otherwise.
    """
    package = _PACKAGES.get(name)
    if package is None:
        known = ("basic", *_PACKAGES)
        if name not in known and (near := did_you_mean(name, known)):
            raise ConfigError(
                f"no launcher is called {name!r}; {near}there are {', '.join(known)} and those of "
                "Hydra's other plugins"
            )
        return
    module = package.replace("-", "_")
    try:
        found = find_spec(f"hydra_plugins.{module}")
    except ModuleNotFoundError:  # no plugin of Hydra's is installed at all
        found = None
    if found is None:
        raise ConfigError(
            f"the launcher {name!r} is not installed; install it with `pip install {package}`"
        )
