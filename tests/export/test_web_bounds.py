"""The bounds on a client, with the spans made short: who does not read, who is one too many."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from holdfast.export.web import bounds
from holdfast.export.web.bounds import BoundedProtocol, sweep
from holdfast.export.web.serve import listen


async def endless(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """An answer without end."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        await asyncio.sleep(0)  # to one who is gone nothing is sent, and nothing waits


async def served(session: Callable[[int], Awaitable[None]]) -> None:
    """`session` with the port of a server of endless answers."""
    with socket.create_server(("127.0.0.1", 0)) as spare:
        port = spare.getsockname()[1]
    listener = listen(f"127.0.0.1:{port}")
    server = uvicorn.Server(
        uvicorn.Config(endless, http=BoundedProtocol, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    tasks = [asyncio.create_task(sweep()), asyncio.create_task(server.serve(sockets=[listener]))]
    try:
        await session(port)
    finally:
        server.should_exit = True
        await tasks[1]
        tasks[0].cancel()


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def ports() -> set[int]:
    """The clients that have a place."""
    return {one.client[1] for one in BoundedProtocol.places if one.client}


def test_who_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "READ_S", 0.3)

    async def session(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: any(one.blocked_since for one in BoundedProtocol.places))
            assert len(BoundedProtocol.places) == 1
            await until(lambda: not BoundedProtocol.places)

    asyncio.run(served(session))


def test_who_reads_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "READ_S", 0.3)
    monkeypatch.setattr(bounds, "ASK_S", 0.3)

    async def session(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 2.5:
            assert await reader.read(65536)
            await asyncio.sleep(0.01)
        writer.close()

    asyncio.run(served(session))


def test_the_quietest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PLACES", 3)

    async def session(port: int) -> None:
        with contextlib.ExitStack() as kept:
            links = []
            for count in (1, 2, 3, 3, 3):
                links.append(kept.enter_context(socket.create_connection(("127.0.0.1", port))))
                mine = links[-1].getsockname()[1]
                await until(lambda mine=mine: mine in ports())  # type: ignore[misc]
                assert len(BoundedProtocol.places) == count
            assert ports() == {link.getsockname()[1] for link in links[2:]}

    asyncio.run(served(session))
