"""Recorded runs read from an MLflow store, for runs whose folders are on another machine."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dlframe.analysis.runs import Curve, RunData
from dlframe.errors import ConfigError, did_you_mean
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.stores import asking

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

__all__ = ["MULTIRUN_TAG", "read_store"]

MULTIRUN_TAG = "dlframe.multirun"
"""Marks a run that stands for others, whose parent it is."""
_UID_TAG = "dlframe.run_uid"
_PAGE = 1000
_WANTED = "runs"


def read_store(uri: str, experiment: str | None) -> list[RunData]:
    """Read the runs that dlframe recorded in an MLflow store, oldest first.

    Args:
        uri: MLflow's tracking URI.
        experiment: name of the experiment; None reads all.

    Raises:
        StorageError: the store does not answer.
        ConfigError: there is no such experiment.
    """
    with asking(uri, _WANTED) as client:
        experiments = {each.experiment_id: each for each in client.search_experiments()}
        if experiment is not None:
            known = [each.name for each in experiments.values()]
            if experiment not in known:
                raise ConfigError(
                    f"{without_credentials(uri)} has no experiment {experiment!r}; "
                    f"{did_you_mean(experiment, known)}there are {', '.join(known) or 'none'}"
                )
            experiments = {k: each for k, each in experiments.items() if each.name == experiment}
        found = list(_pages(client, list(experiments)))
    uids = {run.info.run_id: run.data.tags[_UID_TAG] for run in found}
    runs = [_run(uri, run, experiments, uids) for run in found]
    return sorted(runs, key=lambda run: run.id)


def _pages(client: "MlflowClient", experiments: list[str]) -> "Iterator[Run]":
    token = None
    while experiments:
        page = client.search_runs(
            experiments, f"tags.`{_UID_TAG}` LIKE '%'", max_results=_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _run(
    uri: str,
    run: "Run",
    experiments: "dict[str, Experiment]",
    uids: dict[str, str],
) -> RunData:
    def curve(metric: str) -> Curve:
        with asking(uri, _WANTED) as client:
            history: list[Any] = client.get_metric_history(run.info.run_id, metric)
        # A resumed run may have measured a step twice; the later value is the one that counts.
        last = {m.step: m.value for m in sorted(history, key=lambda m: m.timestamp)}
        return sorted(last.items())

    tags = dict(run.data.tags)
    return RunData(
        id=tags[_UID_TAG],
        name=run.info.run_name or tags[_UID_TAG],
        status=run.info.status,
        experiment=experiments[run.info.experiment_id].name,
        created=run.info.start_time,
        parent=uids.get(tags.get("mlflow.parentRunId", "")),
        group=MULTIRUN_TAG in tags,
        mlflow_run_id=run.info.run_id,
        params=dict(run.data.params),
        tags=tags,
        metrics=dict(run.data.metrics),
        curve=curve,
        experiment_id=run.info.experiment_id,
    )
