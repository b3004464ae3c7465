"""The server: who is answered, at which addresses, and how it begins and ends.

Whoever asks has to know the token, which is in the address that is printed, and hands it on with each
request: in the address itself, or as ``Authorization: Bearer``. It is no cookie: those are sent to every
server of this machine, on whatever port, those of other users too. ``Host`` has to be a name of the
loopback, so no page can reach this under a name of its own (DNS rebinding); ``Origin``, if there is one, this
very server.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tines.cli import top
from tines.cli.dashboard import metrics, page
from tines.cli.dashboard.watcher import Watcher
from tines.cli.page.style import STYLE
from tines.insight.reader import Reader

__all__ = ["application", "serve"]

LOOPBACK = "127.0.0.1"
TOKEN = "TINES_DASHBOARD_TOKEN"
"""What names a token in the environment, for those who ask again after the next start: Prometheus."""
SHORTEST_TOKEN = 16
STACKS_TIMEOUT = 5.0

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": page.POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses whoever does not know the token, or comes by a name or a page that is not ours.

    Args:
        app: What is guarded.
        token: What has to be known.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            why = self._refusal(Request(scope))
            if why is not None:
                await PlainTextResponse(f"{why}\n", 403, _HEADERS)(scope, receive, send)
                return
        elif scope["type"] != "lifespan":
            return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> str | None:
        host = request.headers.get("host", "")
        if len(request.headers.getlist("host")) != 1 or not _HOST.fullmatch(host):
            return "this server has another name: use the address that tines dashboard has printed"
        origins = request.headers.getlist("origin")
        if any(origin.lower() != f"http://{host}".lower() for origin in origins):
            return "pages of other origins are not answered"
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.query_params.get("token", "")
        if not secrets.compare_digest(given.strip().encode(), self._token):
            return "the token is missing or wrong: use the address that tines dashboard has printed"
        return None


def application(watcher: Watcher, token: str) -> Starlette:
    """Return what answers.

    Args:
        watcher: What there is to be said; closed at the end.
        token: What whoever asks has to know.
    """

    def main(request: Request) -> Response:
        return _response(page.document(token), "text/html")

    def view(request: Request) -> Response:
        return _response(watcher.html(), "text/html")

    def api(request: Request) -> Response:
        return _response(watcher.json(), "application/json")

    def figures(request: Request) -> Response:
        return _response(watcher.metrics(), metrics.CONTENT_TYPE)

    def style(request: Request) -> Response:
        return _response(STYLE + _asset("dashboard.css"), "text/css")

    def script(request: Request) -> Response:
        return _response(_asset("dashboard.js"), "text/javascript")

    async def stacks(request: Request) -> Response:
        pid = request.query_params.get("pid", "")
        if not re.fullmatch("[1-9][0-9]{0,9}", pid):
            return _response("name a process: ?pid=4711\n", "text/plain", 400)
        text = await run_in_threadpool(watcher.stacks, int(pid), STACKS_TIMEOUT)
        if text is None:
            return _response(f"process {pid} cannot be asked\n", "text/plain", 404)
        if not text:
            text = f"process {pid} gave no answer in {STACKS_TIMEOUT:g} s: is it stopped?\n"
        return _response(text, "text/plain")

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            watcher.close()

    return Starlette(
        routes=[
            Route("/", main),
            Route("/view", view),
            Route("/api", api),
            Route("/metrics", figures),
            Route("/stacks", stacks, methods=["POST"]),
            Route("/dashboard.css", style),
            Route("/dashboard.js", script),
        ],
        middleware=[Middleware(Guard, token=token)],
        lifespan=lifespan,
    )


def serve(port: int) -> int:
    """Serve until it is told to end; return the exit code."""
    import uvicorn

    token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    if not re.fullmatch(rf"[A-Za-z0-9_\-]{{{SHORTEST_TOKEN},}}", token):
        return _refuse(f"{TOKEN} has to be {SHORTEST_TOKEN} or more letters, digits, - and _")
    try:
        reader = Reader()
    except NotImplementedError as error:
        return _refuse(str(error))
    try:
        listener = _listen(port)
    except OSError as error:
        return _refuse(
            f"port {port} of {LOOPBACK} is not to be had ({error.strerror}): perhaps another tines "
            "dashboard runs; choose another one with --port, or --port 0 for any"
        )
    with listener, top.ended_by_signals():
        config = uvicorn.Config(
            application(Watcher(reader), token),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/?token={token}"
        print(
            f"tines dashboard: {address}\n"
            "The address is a key: keep it to yourself. Ctrl-C ends it.",
            flush=True,
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            pass  # the way to end it
    return 0


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with whoever has it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def _refuse(why: str) -> int:
    print(f"tines dashboard: {why}", file=sys.stderr)
    return 2


def _response(content: str, media: str, status: int = 200) -> Response:
    # What programs are called may have halves of characters in it.
    return Response(content.encode("utf-8", "replace"), status, _HEADERS, media)


def _asset(name: str) -> str:
    folder = importlib.resources.files("tines.cli.dashboard").joinpath("assets")
    return folder.joinpath(name).read_text("utf-8")
