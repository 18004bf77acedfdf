"""A proxy before an MLflow server, which misbehaves when told to."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

__all__ = ["Proxy"]

Mode = Literal["pass", "refuse", "hang", "status", "slow", "lose", "small", "login"]


class Proxy:
    """Listens on loopback and hands requests on to a server on loopback.

    Attributes:
        port: where it listens, also after it has refused connections for a while.
        asked: paths of all requests that came.
        lost: paths of those whose reply was withheld after the server had carried them out.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.asked: list[str] = []
        self.lost: list[str] = []
        self._mode: Mode = "pass"
        self._argument: Any = None
        self._change = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self._listen()

    def set(self, mode: Mode, argument: Any = None) -> None:
        """Behave in another way from now on.

        Args:
            mode: ``pass`` hands on; ``refuse`` closes the port; ``hang`` takes requests and never
                answers; ``status`` answers with a status (``argument``) by itself; ``slow`` answers
                after ``argument`` seconds; ``lose`` hands requests on whose path ends in ``argument``
                and withholds the replies; ``small`` answers requests of more than ``argument`` bytes
                with status 413; ``login`` answers those whose header ``Authorization`` is not
                ``argument`` with status 401.
            argument: see above.
        """
        self._mode, self._argument = mode, argument
        self._change.set()
        self._change = threading.Event()
        if mode == "refuse":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        """Close the port."""
        self._change.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _listen(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy._answer(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 100

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        mode, argument, change = self._mode, self._argument, self._change
        self.asked.append(request.path)
        request.close_connection = True
        if mode == "hang":
            change.wait(120)
            return
        if mode == "login" and request.headers.get("Authorization") != argument:
            mode, argument = "status", 401
        if mode == "status" or (mode == "small" and len(body) > argument):
            request.send_response(argument if mode == "status" else 413)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if mode == "slow":
            time.sleep(argument)
        status, headers, content = self._ask(request, body)
        if mode == "lose" and request.path.endswith(argument):
            self.lost.append(request.path)
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _ask(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "connection"}
            connection.request(request.command, request.path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        except OSError:  # a dead server: the client sees its connection end without a reply
            raise ConnectionError from None
        finally:
            connection.close()
