"""Alerts: tells a command or a webhook that a run diverged, stalled, failed or finished."""

import json
import math
import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlframe.errors import ConfigError, StorageError
from dlframe.tracking.entries import Record
from dlframe.tracking.redaction import redacted
from dlframe.tracking.sinks import PendingRun, Sink

__all__ = ["EVENTS", "AlertSink", "alert_options"]

EVENTS = ("diverged", "stalled", "failed", "finished")
_DIVERGED = "TrainingDivergedError"
_PATIENCE = 20.0
_ATTEMPTS = 4
_ATTEMPTS_IN_VAIN = 7
"""Who trains may have the variable, and start another delivery process meanwhile."""


class _UnsetError(StorageError):
    """A variable is not in the environment of the delivery process."""


def alert_options(tracking: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what ``RunInfo.alert`` holds for the options of a run; None where nobody is told.

    Raises:
        ConfigError: an option holds a secret, which would be recorded with it.
    """
    command, webhook = tracking["alert_command"], tracking["alert_webhook"]
    if command is None and webhook is None:
        return None
    instead = {"alert_command": "call a script that reads it", "alert_webhook": "write '$NAME'"}
    for option, remedy in instead.items():
        if (given := tracking[option]) is not None and redacted(given) != given:
            raise ConfigError(
                f"tracking.{option} holds what looks like a secret and would be recorded; put that "
                f"into an environment variable and {remedy}"
            )
    on = EVENTS if tracking["alert_on"] is None else tracking["alert_on"]
    seconds = tracking["alert_stalled"]
    return {"command": command, "webhook": webhook, "on": list(on), "stalled_after": seconds}


class AlertSink(Sink):
    """Sends one message per event of a run: a JSON object with ``event``, ``run`` and ``text``.

    The command gets it on its standard input, the webhook as the body of a POST. Who cannot be
    reached is tried again a few times, then the run's notice says so: no run waits for ever.
    """

    def __init__(self) -> None:
        self._tries: Counter[tuple[str, str]] = Counter()

    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Look for events in ``records``; see ``Sink``."""
        for record in records:
            event, said = _event(record)
            if record.kind == "start":
                state["told"] = [each for each in state.get("told", []) if each == "diverged"]
            if event is not None and self._tell(run, event, said, state):
                yield record.seq
        if records:
            yield records[-1].seq

    def quiet(self, run: PendingRun, seconds: float, state: dict[str, Any]) -> bool:
        """Tell that a training has recorded nothing for long."""
        if seconds < run.info.alert["stalled_after"]:
            return False
        return self._tell(run, "stalled", f"has recorded nothing for {seconds:.0f} s", state)

    def _tell(self, run: PendingRun, event: str, said: str, state: dict[str, Any]) -> bool:
        told = state.setdefault("told", [])
        if event in told or event not in run.info.alert["on"]:
            return False
        name = run.info.run_name or run.info.uid
        message = {"event": event, "run": run.info.uid, "name": name,
                   "experiment": run.info.experiment, "folder": str(run.folder),
                   "text": f"{name} ({run.info.uid}) {said}"}  # fmt: skip
        try:
            _send(run.info.alert, message)
        except StorageError as error:
            self._tries[run.info.uid, event] += 1
            attempts = _ATTEMPTS_IN_VAIN if isinstance(error, _UnsetError) else _ATTEMPTS
            if self._tries[run.info.uid, event] < attempts:
                raise
            state["notice"] = str(error)
        told.append(event)
        return True


def _event(record: Record) -> tuple[str | None, str]:
    if record.kind == "metrics":
        step = record.body["step"]
        for name, value in record.body["values"].items():
            if isinstance(value, float) and not math.isfinite(value):
                return "diverged", f"diverged: {name} is {value} at step {step}"
    if record.kind == "finish":
        lines = redacted(record.body["error"] or "").strip().splitlines()
        reason = f": {lines[-1]}" if lines else ""
        match record.body["status"]:
            case "FINISHED":
                return "finished", "has finished"
            case "FAILED" if lines and _DIVERGED in lines[-1]:
                return "diverged", f"diverged{reason}"
            case "FAILED":
                return "failed", f"failed{reason}"
            case _:
                return "failed", f"was ended{reason}"
    return None, ""


def _send(options: Mapping[str, Any], message: Mapping[str, str]) -> None:
    """Run the command and call the webhook.

    Raises:
        StorageError: one of them failed.
    """
    body = json.dumps(message).encode()
    if options["command"]:
        try:
            done = subprocess.run(
                shlex.split(options["command"]), input=body, timeout=_PATIENCE, check=False,
                capture_output=True,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise StorageError(
                f"tracking.alert_command could not be run ({error}); mend it"
            ) from error
        if done.returncode != 0:
            raise StorageError(
                f"tracking.alert_command ended with exit code {done.returncode}; mend it"
            )
    if options["webhook"]:
        import urllib.request  # here, since a training needs nothing of it
        from urllib.error import HTTPError

        request = urllib.request.Request(
            _address(options["webhook"]), body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):
                pass
        except (OSError, ValueError) as error:  # never the address: it may be a secret
            reason = (
                f"status {error.code}" if isinstance(error, HTTPError) else type(error).__name__
            )
            raise StorageError(
                f"tracking.alert_webhook does not answer ({reason}); mend it"
            ) from None


def _address(given: str) -> str:
    """Return the webhook's address; ``$NAME`` takes it from the environment, so that no file has it."""
    if not given.startswith("$"):
        address = given
    elif (found := os.environ.get(given[1:])) is not None:
        address = found
    else:
        raise _UnsetError(
            f"tracking.alert_webhook names the environment variable {given[1:]!r}, which the delivery "
            "process does not have; set it before training starts"
        )
    if not address.startswith(("http://", "https://")):
        raise StorageError("tracking.alert_webhook must begin with http:// or https://")
    return address
