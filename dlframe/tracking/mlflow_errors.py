"""What the errors of MLflow's client mean: whether trying again can help, and why in one phrase."""
# ruff: noqa: TID253  (imported by the delivery process only)

import re

import requests
from mlflow.exceptions import MlflowException

from dlframe.errors import DlframeError
from dlframe.tracking.redaction import redacted, without_credentials
from dlframe.tracking.stores import meaning

__all__ = ["in_one_line", "of_database", "reason", "refused"]

_CUT = "Connection aborted"
_STATUS = re.compile(r"(?:error code |too many )(\d{3})")
_STATEMENT = "[SQL:"
_DATABASE = re.compile(r"\([\w.]+\) ([^\n\[]+)")
_LOGIN = (
    "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD and run `dlframe sync`, or mend "
    "tracking.uri"
)
_REMEDIES = {
    "401": _LOGIN,
    "403": _LOGIN,
    "404": "; mend tracking.uri, where no MLflow seems to be",
}


def refused(error: BaseException) -> bool:
    """Whether sending the same again can never help.

    That is known of few errors only: a request that MLflow calls wrong, a file that is gone, and what
    dlframe itself says cannot be sent. Credentials that are refused (401, 403), a missing run or a
    wrong address (404), time-outs (408) and overload (429) can all change; so can a full disk, a
    missing package, and whatever the library of an object store raises.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    elif isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    else:
        return isinstance(error, FileNotFoundError | UnicodeEncodeError | DlframeError)
    return 400 <= status < 500 and status not in (401, 403, 404, 408, 429)


def of_database(error: BaseException) -> bool:
    """Whether the database behind MLflow refused, which may be a matter of the database."""
    return _STATEMENT in str(error)


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
    if isinstance(error, ImportError):
        return f"the package {error.name!r} is missing here; install it"
    if of_database(error) and (found := _DATABASE.search(str(error))):
        return f"its database says: {redacted(found[1])}"
    if found := _STATUS.search(str(error)):
        return f"it answers with status {found[1]}{_REMEDIES.get(found[1], '')}"
    return meaning(str(error) or type(error).__name__)


def in_one_line(error: BaseException) -> str:
    """Return an error's text without credentials, cut where it is long."""
    return without_credentials(" ".join(str(error).split())[:500]) or type(error).__name__
