"""``dlframe ui``: MLflow's pages on the recorded runs."""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser
from dlframe.errors import StorageError

if TYPE_CHECKING:
    from dlframe.tracking.stores import Store

__all__ = ["run"]

_PATIENCE = 120.0


def run(argv: list[str]) -> int:
    """Start MLflow's server and wait for Ctrl-C, or say where one runs already."""
    parser = command_parser(
        "ui",
        "Open recorded runs in MLflow's pages: start its server on their store, reachable from this "
        "machine only, and print the address. Ctrl-C ends it. Where runs are recorded on a server, "
        "the address of that is printed.",
        "",
        "--root ../runs --port 8080",
        "--uri postgresql://localhost/mlflow",
    )
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument(
        "--uri", help="MLflow store; otherwise that of the latest run in the folder"
    )
    parser.add_argument("--port", type=int, help="port (default: 5000, or else a free one)")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON when the server answers"
    )
    arguments = parser.parse_args(argv)
    from dlframe.tracking.stores import check_readable, store_of

    root = Path(arguments.root).absolute()
    store = store_of(root, arguments.uri)
    if store.uri.startswith(("http://", "https://")):
        _open_elsewhere(store, as_json=arguments.json)
        return 0
    check_readable(store.uri)
    # However it is asked to end, the server must go first.
    before = {
        number: signal.signal(number, _stop)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN  # as under `nohup`
    }
    try:
        return _serve(store, root, arguments.port, as_json=arguments.json)
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(store: "Store", root: Path, wanted: int | None, *, as_json: bool) -> int:
    from dlframe.tracking.redaction import without_credentials
    from dlframe.tracking.server import HOST, PortTakenError, free_port, serving

    if not as_json:
        print(f"starting MLflow's server on {without_credentials(store.uri)} ...", file=sys.stderr)
    while True:
        port = free_port(wanted)
        try:
            with serving(store.uri, root, port, _PATIENCE) as server:
                _say(f"http://{HOST}:{port}", store, os.getpid(), as_json=as_json)
                server.wait()
            break
        except PortTakenError:
            if wanted is not None:
                raise
    raise StorageError("MLflow's server has ended by itself; start it again with `dlframe ui`")


def _open_elsewhere(store: "Store", *, as_json: bool) -> None:
    from dlframe.tracking.redaction import without_credentials
    from dlframe.tracking.server import answers

    url = without_credentials(store.uri).rstrip("/")
    if not answers(url):
        print(f"dlframe: {url} does not answer now", file=sys.stderr)
    _say(url, store, None, as_json=as_json)


def _say(url: str, store: "Store", pid: int | None, *, as_json: bool) -> None:
    from dlframe.tracking.stores import pages

    experiment, run = pages(url, store)
    if as_json:
        found: dict[str, Any] = {"url": url, "experiment": experiment, "run": run, "pid": pid}
        print(json.dumps(found), flush=True)
        return
    lines = {"MLflow UI": url, "experiment": experiment, "latest run": run}
    for name, address in lines.items():
        if address is not None:
            print(f"{name:<11} {address}", flush=True)
    if pid is not None:
        print("Ctrl-C ends it.", flush=True)
