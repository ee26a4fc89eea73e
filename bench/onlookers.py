"""`python -m bench.onlookers PORT COUNT`: so many clients as a browser with the page is one, each a Prometheus, too.

Each holds the event stream, fetches at each of its lines what the page fetches, and reads /metrics every 5 s. A line is
written for every 10 s: how many lines, octets and metrics there were.
"""

import asyncio
import os
import sys

PAGE = ("/api/status", "/api/events?limit=1000", "/api/adverts")
SCRAPE_S = 5.0
counts = {"lines": 0, "octets": 0, "metrics": 0}


async def fetch(port: int, path: str) -> None:
    """One document, by a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    assert b" 200 " in status, (path, status)
    while piece := await reader.read(1 << 18):
        counts["octets"] += len(piece)
    writer.close()


async def page(port: int) -> None:
    """An open page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/live HTTP/1.1\r\nHost: a\r\n\r\n")
    while line := await reader.readline():
        if line.startswith(b"data:"):
            counts["lines"] += 1
            for path in PAGE:
                await fetch(port, path)


async def prometheus(port: int, share: float) -> None:
    """A scraper, which begins at its share of the interval."""
    await asyncio.sleep(SCRAPE_S * share)
    while True:
        await fetch(port, "/metrics")
        counts["metrics"] += 1
        await asyncio.sleep(SCRAPE_S)


async def told() -> None:
    while True:
        await asyncio.sleep(10)
        print(counts, flush=True)


async def main(port: int, count: int) -> None:
    await asyncio.gather(
        told(), *(page(port) for _ in range(count)), *(prometheus(port, number / count) for number in range(count))
    )


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # they are elsewhere, but for this bench
    asyncio.run(main(*map(int, sys.argv[1:])))
