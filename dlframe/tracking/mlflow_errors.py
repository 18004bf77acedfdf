"""What the errors of MLflow's client mean: whether trying again can help, and why in one phrase."""
# ruff: noqa: TID253  (imported by the delivery process only)

import re

import requests
from mlflow.exceptions import MlflowException

from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.stores import meaning

__all__ = ["in_one_line", "reason", "refused"]

_CUT = "Connection aborted"
_STATUS = re.compile(r"(?:error code |too many )(\d{3})")
_LOGIN = "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or mend tracking.uri"
_REMEDIES = {
    "401": _LOGIN,
    "403": _LOGIN,
    "404": "; mend tracking.uri, where no MLflow seems to be",
}


def refused(error: Exception) -> bool:
    """Whether sending the same again can never help.

    Credentials that are refused (401, 403), a missing run or a wrong address (404), time-outs (408)
    and overload (429) can all change; so can a full disk.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    elif isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    elif isinstance(error, requests.RequestException):
        return False
    else:
        return isinstance(error, FileNotFoundError) or not isinstance(error, OSError)
    return 400 <= status < 500 and status not in (401, 403, 404, 408, 429)


def reason(error: BaseException) -> str:
    """Say why a request failed, without the library's account of its own layers."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.RequestException):
            if isinstance(cause, requests.Timeout) or "timed out" in str(cause):
                return "it did not answer in time"
            if _CUT in str(cause):
                return "it cut the connection without an answer"
            if isinstance(cause, requests.ConnectionError) and not _STATUS.search(str(cause)):
                return "no connection; start the server, or mend tracking.uri"
        cause = cause.__cause__ or cause.__context__
    if found := _STATUS.search(str(error)):
        return f"it answers with status {found[1]}{_REMEDIES.get(found[1], '')}"
    return meaning(str(error))


def in_one_line(error: BaseException) -> str:
    """Return an error's text without credentials, cut where it is long."""
    return without_credentials(" ".join(str(error).split())[:500]) or type(error).__name__
