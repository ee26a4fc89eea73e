"""The routes: page, metrics, health, API, and the events that keep an open page up to date."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from importlib.resources import files
from typing import Any

import msgspec
from prometheus_client import exposition
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from holdfast.control import journal
from holdfast.control.client import AskError, RefusedError, ask
from holdfast.export.web import commands
from holdfast.export.web.asked import LONGEST_BYTES, PLAN_SHARE, Asked, FailedError, check_apart, refusal_status
from holdfast.export.web.bounds import BODY_BYTES
from holdfast.export.web.metrics import registry
from holdfast.export.web.openapi import document
from holdfast.export.web.reasons import reasons
from holdfast.export.web.view import EVENTS, View
from holdfast.export.web_messages import WebPlan

WATCHERS = 32
"""Open pages at once; one more is told to come again later."""

HEARTBEAT_S = 15.0

KEPT = 4
"""So many answers are kept of a view."""

COMMAND_S = 30.0
"""How long a command may take."""

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def reply(document: object, status: int = 200, **headers: str) -> Response:
    """A JSON document."""
    octets = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return Response(octets, status, {**HEADERS, **headers}, "application/json")


def failure(status: int, error: str, cure: str = "", **headers: str) -> Response:
    """Why not, and what would help."""
    return reply({"error": error, "cure": cure} if cure else {"error": error}, status, **headers)


class Site:
    """Everything that is served."""

    def __init__(self, view: View, guard: commands.Guard, say: Callable[[str], None]) -> None:
        self.view = view
        self.guard = guard
        self.has_instances = True
        self._say = say
        self._registry = registry(view)
        self._made_of, self._kept = -1, dict[str, bytes]()
        self._commanding = asyncio.Lock()
        self._checking = asyncio.Lock()
        self._who, self._plan = Asked(view.run_dir, "who"), Asked(view.run_dir, "changes", PLAN_SHARE)
        self._openapi = msgspec.json.encode(document())
        folder = files("holdfast.export.web") / "static"
        self._static = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in TYPES}

    def take(self, plan: WebPlan) -> None:
        """What the supervisor says of itself, now or after a reload."""
        self.guard.path, self.has_instances = plan.token_file, plan.has_instances
        self.view.garp_delays_s = plan.garp_delays_s

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/", self.page),
            Route("/static/{name}", self.static),
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/api/openapi.json", self.openapi),
            Route("/api/status", self.status),
            Route("/api/events", self.events),
            Route("/api/adverts", self.adverts),
            Route("/api/why", self.why),
            Route("/api/who", self.who),
            Route("/api/plan", self.plan),
            Route("/api/check", self.check, methods=["POST"]),
            Route("/api/live", self.live),
            *(Route(f"/api/{name}", self.command, methods=["POST"]) for name in commands.BODIES),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: self.refused, Exception: self.failed})

    async def refused(self, request: Request, why: Exception) -> Response:
        """No such page, no such method."""
        assert isinstance(why, HTTPException)
        headers = dict(why.headers or {})
        return failure(why.status_code, why.detail, "see /api/openapi.json for what there is", **headers)

    async def failed(self, request: Request, why: Exception) -> Response:
        """A mistake of ours: the log has it, the client does not."""
        self._say(f"{request.method} {request.url.path[:100]} failed: {why!r}")
        return failure(500, "this failed inside the web worker", "it is a mistake in holdfast: its log has more")

    def _unanswered(self) -> Response:
        """Why the daemon says nothing."""
        return failure(503, self.view.error, self.view.cure)

    # ---- for people -------------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page."""
        return Response(self._static["index.html"], 200, HEADERS, "text/html")

    async def static(self, request: Request) -> Response:
        """What the page is made of: names that were there at the start, and no paths."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, "there is no such file")
        return Response(self._static[name], 200, {**HEADERS, "Cache-Control": "no-cache"},
                        TYPES[name.rpartition(".")[2]])  # fmt: skip

    async def live(self, request: Request) -> Response:
        """A line whenever there is something new to fetch (server-sent events)."""
        if self.view.watchers >= WATCHERS:
            return failure(503, f"{WATCHERS} pages are open already", "close one, or try again later")
        return StreamingResponse(self._ticks(), 200, HEADERS, "text/event-stream")

    async def _ticks(self) -> AsyncIterator[bytes]:
        self.view.watchers += 1
        try:
            self.view.want()
            yield b"retry: 1000\n\n"
            seen = self.view.asked
            while True:
                came = await self.view.next(HEARTBEAT_S, seen)
                seen = self.view.asked
                yield f"data: {self.view.asked}\n\n".encode() if came else b": still here\n\n"
        finally:
            self.view.watchers -= 1

    # ---- for programs -----------------------------------------------------------------------------------------------

    async def metrics(self, request: Request) -> Response:
        """OpenMetrics, or the older text, as asked."""
        await self.view.fresh()
        encoder, kind = exposition.choose_encoder(request.headers.get("accept", ""))
        octets = self._made(kind, lambda: encoder(self._registry))
        return Response(octets, 200, {**HEADERS, "Content-Type": kind})

    def _made(self, what: str, make: Callable[[], bytes]) -> bytes:
        """A large answer, made once of each view for all who ask for it."""
        if self._made_of != self.view.asked:
            self._made_of, self._kept = self.view.asked, {}
        if what not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[what] = make()
        return self._kept[what]

    async def healthz(self, request: Request) -> Response:
        """Whether the loops of supervisor and workers turn."""
        await self.view.fresh()
        if self.view.error:
            return self._unanswered()
        if self.has_instances and not self.view.status.get("worker_pid"):
            return failure(503, "no vrrp worker runs", "look at the log")
        return reply({"healthy": True, "loops": {one["name"]: one["silent_s"] for one in self.view.loops}})

    async def readyz(self, request: Request) -> Response:
        """Whether an instance is MASTER."""
        name = _named(request, {"instance"}).get("instance", "")
        await self.view.fresh()
        if self.view.error:
            return self._unanswered()
        found = [one for one in self.view.status["instances"] if not name or one["name"] == name]
        if name and not found:
            return failure(404, f"there is no instance {name}", "see /api/status for their names")
        states = {one["name"]: one["state"] for one in found}
        if "MASTER" in states.values():
            return reply({"ready": True, "states": states})
        return failure(503, f"{name or 'no instance'} is {states[name] if name else 'MASTER'}")

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return reply(self._openapi)

    async def status(self, request: Request) -> Response:
        """What `holdfast status --json` prints."""
        await self.view.fresh()
        return self._unanswered() if self.view.error else reply(self.view.octets)

    async def events(self, request: Request) -> Response:
        """What `holdfast events --json` prints, as one list."""
        asked = _named(request, {"limit", "instance"})
        limit, name = asked.get("limit", "500"), asked.get("instance", "")
        if not limit.isascii() or not limit.isdigit() or len(limit) > 6 or not 1 <= int(limit) <= EVENTS:
            return failure(400, f"limit is {limit[:20]!r}", f"send a number from 1 to {EVENTS}")
        await self.view.fresh()
        if not name:
            return reply(self._made(f"events {int(limit)}", lambda: _last(self.view.events, int(limit))))
        rows = [row for row in self.view.events if journal.concerns(row, name)]
        return reply(rows[-int(limit) :])

    async def why(self, request: Request) -> Response:
        """What `holdfast why --json` prints."""
        asked = _named(request, {"name", "server"})
        if "name" not in asked:
            return failure(400, "why of what?", "send ?name= of an instance, a sync group or a virtual server")
        await self.view.fresh()
        if self.view.error:
            return self._unanswered()
        told = reasons(self.view.status, asked["name"], asked.get("server", ""), list(self.view.events))
        if told is None:
            return failure(404, f"there is no {asked.get('server') or asked['name']}", "see /api/status for the names")
        return reply(told)

    async def adverts(self, request: Request) -> Response:
        """How regularly adverts come and go, counted while a page is open."""
        await self.view.fresh()
        if self.view.error:
            return self._unanswered()
        return reply({name: list(kept) for name, kept in self.view.series.items()})

    async def who(self, request: Request) -> Response:
        """What `holdfast who --json` prints."""
        _named(request, set())
        return _passed_on(*await self._who.answer())

    async def plan(self, request: Request) -> Response:
        """What `holdfast plan --json` prints, of the daemon's own file."""
        _named(request, set())
        return _passed_on(*await self._plan.answer())

    async def check(self, request: Request) -> Response:
        """What `holdfast check --json` prints, of what is sent: one at a time, and only with the token."""
        octets = await self._body(request, LONGEST_BYTES)
        if isinstance(octets, Response):
            return octets
        try:
            msgspec.json.decode(octets, type=commands.Check)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
            return failure(400, f"check: {wrong}", "see /api/openapi.json")
        async with self._checking:
            try:
                return reply(await check_apart(octets))
            except (FailedError, OSError) as failed:
                return failure(503, str(failed), "check it on a host: holdfast check FILE")

    async def command(self, request: Request) -> Response:
        """What the commands change: one at a time, and only with the token."""
        name = request.url.path.rpartition("/")[2]
        octets = await self._body(request, BODY_BYTES)
        if isinstance(octets, Response):
            return octets
        try:
            asked = commands.request(name, octets)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
            return failure(400, f"{name}: {wrong}", "see /api/openapi.json")
        return await self._carried_out(asked)

    async def _body(self, request: Request, longest_bytes: int) -> bytes | Response:
        """The body of one who has shown the token, or why there is none."""
        try:
            self.guard.check(request.headers.get("authorization", ""))
        except commands.RefusedError as no:
            headers = {"WWW-Authenticate": "Bearer"} if no.status == 401 else {}
            return failure(no.status, no.error, no.cure, **headers)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return failure(415, "a command is application/json", "send `Content-Type: application/json`")
        octets = bytearray()
        async for piece in request.stream():
            octets += piece
            if len(octets) > longest_bytes:
                return failure(413, f"at most {longest_bytes} bytes are taken", Connection="close")
        return bytes(octets)

    async def _carried_out(self, asked: dict[str, Any]) -> Response:
        async with self._commanding:
            try:
                answer = await asyncio.to_thread(ask, self.view.run_dir, asked, COMMAND_S)
            except RefusedError as no:
                return reply(no.answer, refusal_status(no.answer))
            except AskError as nobody:
                return failure(503, str(nobody))
            finally:
                for kept in (self.view, self._who, self._plan):
                    kept.stale()
        return reply(answer, 409 if answer.get("error") else 200)


def _last(rows: Collection[journal.Row], limit: int) -> bytes:
    return msgspec.json.encode(list(rows)[-limit:])


def _passed_on(status: int, answer: bytes | str) -> Response:
    """What the daemon said, or why it says nothing."""
    return failure(status, answer) if isinstance(answer, str) else reply(answer, status)


def _named(request: Request, known: set[str]) -> dict[str, str]:
    """The query's values by name; raises HTTPException (400) for what is unknown, twice or too long."""
    found: dict[str, str] = {}
    for key, value in request.query_params.multi_items():
        if key not in known or key in found or not 0 < len(value) <= 200:
            raise HTTPException(400, f"{key[:40]!r}: unknown here, given twice, empty or too long")
        found[key] = value
    return found
