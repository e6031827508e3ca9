"""The server of a tour: for this machine alone, and for the page that it has sent.

It listens on 127.0.0.1. Every request must name that host and carry a token that is made anew for
each tour; the address that opens the page has it. A page of another origin can neither read nor
drive a tour: its requests lack the token, and carry the wrong origin.
"""

import asyncio
import base64
import binascii
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable

from mflows.pages.tour.guide import Guide
from mflows.pages.tour.page import html, packed

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response, StreamingResponse
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"A tour that is served needs {error.name}. Install it with: pip install 'mflows[tour]'"
    ) from error

HOST = "127.0.0.1"
LARGEST = 100 << 20
"""Bytes of a request at most."""
PATIENCE = 5.0
"""Seconds without an open page after which a tour has ended; to load a page again takes less."""


class Server:
    """A tour that is served.

    Args:
        guide: What answers.
        port: Where to listen; 0 for any free port.

    Raises:
        ValueError: If the port is in use, or may not be used.
    """

    def __init__(self, guide: Guide, port: int = 0):
        self._guide, self._page = guide, html(guide)
        self._token = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self._pages = 0
        self._socket = _listening(port)
        self.port = self._socket.getsockname()[1]
        self.address = f"http://{HOST}:{self.port}/?token={self._token}"
        routes = [
            Route("/", self._send_page),
            Route("/api/alive", self._alive),
            Route("/api/{what}", self._answer, methods=["POST"]),
        ]
        settings = uvicorn.Config(
            Starlette(routes=routes),
            log_level=logging.WARNING,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(settings)

    def run(self, *, open_browser: bool = True) -> None:
        """Serve until the page is closed, or a signal comes."""
        if open_browser:
            threading.Thread(target=self._open, daemon=True).start()
        with self._socket:
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End soon."""
        self._server.should_exit = True

    def _open(self) -> None:
        if not webbrowser.open(self.address):
            print("No browser was found here. Open the address above in one on this machine.")

    # Requests ---------------------------------------------------------------------------------

    def _refusal(self, request: Request, token: str) -> Response | None:
        """What a request gets that the page of this tour did not make."""
        known = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        origin = request.headers.get("origin")
        mine = origin is None or origin in {f"http://{host}" for host in known}
        here = request.headers.get("host") in known
        if here and mine and secrets.compare_digest(token.encode(), self._token.encode()):
            return None
        return Response(
            "This address belongs to a tour of mflows. Open it as `mflows tour` has printed it, "
            "with its token.",
            403,
            media_type="text/plain",
        )

    async def _send_page(self, request: Request) -> Response:
        refusal = self._refusal(request, request.query_params.get("token", ""))
        return refusal or HTMLResponse(self._page, headers=HEADERS)

    async def _alive(self, request: Request) -> Response:
        """A stream that is open as long as the page."""
        refusal = self._refusal(request, request.query_params.get("token", ""))
        return refusal or StreamingResponse(self._heard(), media_type="text/event-stream")

    async def _heard(self) -> AsyncIterator[str]:
        self._pages += 1
        try:
            while not self._server.should_exit:
                yield ": still here\n\n"
                await asyncio.sleep(0.5)
        finally:
            self._pages -= 1
            if not self._pages:
                asyncio.get_running_loop().call_later(PATIENCE, self._end_if_alone)

    def _end_if_alone(self) -> None:
        if not self._pages:
            self.stop()

    async def _answer(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if refusal := self._refusal(request, token):
            return refusal
        answer = ANSWERS.get(request.path_params["what"])
        if answer is None:
            return Response(status_code=404)
        if int(request.headers.get("content-length") or LARGEST + 1) > LARGEST:
            return _json({"error": f"Expected at most {LARGEST >> 20} MB."}, 413)
        try:
            asked = await request.json()
            return _json(await run_in_threadpool(self._locked, answer, asked))
        except (ValueError, KeyError, TypeError) as error:  # DataError is a ValueError
            return _json({"error": str(error)}, 400)

    def _locked(self, answer: Callable, asked: dict):
        with self._lock:
            return answer(self._guide, asked)


def _json(told, status: int = 200) -> Response:
    return Response(packed(told), status, headers=HEADERS, media_type="application/json")


HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _picture(guide: Guide, asked: dict):
    try:
        content = base64.b64decode(asked["content"], validate=True)
    except binascii.Error as error:
        raise ValueError("Expected the bytes of a picture in base64.") from error
    return guide.picture(content, str(asked["name"]))


ANSWERS: dict[str, Callable[[Guide, dict], dict | None]] = {
    "point": lambda guide, asked: guide.point(asked["u"], asked["theta"]),
    "density": lambda guide, asked: guide.density(asked["u"], asked["theta"]),
    "plane": lambda guide, asked: guide.plane(
        asked["u"], asked["theta"], int(asked["i"]), int(asked["j"]), min(int(asked["side"]), 65)
    ),
    "manifold": lambda guide, asked: guide.manifold(asked["theta"]),
    "row": lambda guide, asked: guide.row(str(asked["text"]), asked["theta"]),
    "picture": _picture,
    "walk": lambda guide, asked: guide.walk(asked["start"], asked["end"], asked["theta"]),
}
"""What the page may ask, by name."""


def _listening(port: int) -> socket.socket:
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind((HOST, port))
    except OSError as error:
        own.close()
        raise ValueError(
            f"Expected a free port; {port} cannot be used ({error.strerror}). Leave out --port, "
            "or name another."
        ) from error
    own.listen()
    return own
