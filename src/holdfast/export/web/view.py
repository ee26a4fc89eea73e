"""What the daemon says of itself, asked over its local socket for all clients together, at most five times a second."""

import asyncio
import os
import time
from collections import deque
from typing import Any

import msgspec

from holdfast.control import journal
from holdfast.control.client import AskError, ask_bytes
from holdfast.engine.journal import FILE
from holdfast.export.web.routine import Carried

GAP_S = 0.2
GAP_SHARE = 10
LONGEST_GAP_S = 0.5
"""At least so long between two questions; longer, so many times what an answer takes, where that takes long."""

FRESH_S = 2.0
"""What is younger is not asked again unless something happened; while somebody watches it is asked so often."""

ANSWER_S = 3.0
"""How long the daemon may take."""

SHARE = 5000
LONGEST_S = 120.0
"""What only a whole status tells is asked for when something has happened; else after so many times the time it takes,
and this long at most: it is the one thing onlookers cost the process that elects."""

SAMPLES = 300
SERIES = 64
"""Of so many instances the adverts are counted, so many times."""

EVENTS = 2000
"""The youngest events that are kept at hand."""


class View:
    """One shared, cached view. `status` is what `holdfast status --json` says; "" in `error` when it came."""

    def __init__(self, run_dir: str) -> None:
        self.run_dir = run_dir
        self.status: dict[str, Any] = {}
        self._octets = b""  # of the status; "" when it has to be made
        self._carried: Carried | None = None
        self._whole_at = 0.0  # when the last whole one was asked for; 0: what it said is no longer so
        self._changes = 0
        self.questions = {"routine": 0, "whole": 0}  # how many were asked
        self.error = "not asked yet"
        self.cure = ""
        self.loops: list[dict[str, Any]] = []  # of supervisor and workers; none while the daemon does not answer
        self.answer_s = 0.0
        self.asked = 0  # how often
        self.watchers = 0
        self.garp_delays_s: dict[str, float] = {}
        self.events: deque[journal.Row] = deque(maxlen=EVENTS)
        self._follower: journal.Follower | None = None
        self._asked_at = 0.0
        self._wanted = asyncio.Event()
        self._news = asyncio.Condition()
        self._counts: dict[str, tuple[float, int]] = {}
        self.series: dict[str, deque[tuple[float, float, float]]] = {}  # time, adverts a second, expected

    # ---- for the routes ---------------------------------------------------------------------------------------------

    async def fresh(self) -> None:
        """Have a view that is at most FRESH_S old, and no older than what we were told of."""
        if not self._asked_at or time.monotonic() - self._asked_at > FRESH_S:
            self.want()
        for _ in range(2):  # the answer on its way may be to a question from before
            if self._wanted.is_set():
                await self.next(ANSWER_S + 1)

    async def next(self, timeout_s: float, since: int | None = None) -> bool:
        """Wait for the next answer (after the one numbered `since`); whether it came in time."""
        asked = self.asked if since is None else since
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self.asked != asked)
        except TimeoutError:
            return False
        return True

    def stale(self) -> None:
        """Something has changed: ask soon when somebody watches, else when somebody asks."""
        self._asked_at = self._whole_at = 0.0
        self._changes += 1
        if self.watchers:
            self.want()

    def want(self) -> None:
        """Ask soon."""
        self._wanted.set()

    # ---- asking -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask whenever it is wanted, and each second while somebody watches; for ever."""
        while True:
            try:
                async with asyncio.timeout(FRESH_S):
                    await self._wanted.wait()
            except TimeoutError:
                if not self.watchers:
                    continue
            self._wanted.clear()
            await self._ask()
            async with self._news:
                self.asked += 1
                self._news.notify_all()
            await asyncio.sleep(min(max(GAP_S, GAP_SHARE * self.answer_s), LONGEST_GAP_S))

    async def _ask(self) -> None:
        begun = time.monotonic()
        self.questions["routine"] += 1
        try:
            octets = await asyncio.to_thread(ask_bytes, self.run_dir, {"command": "routine"}, ANSWER_S)
            told = msgspec.json.decode(octets)
            self.loops = told["loops"]
            still = [one for one in self.loops if one["why"]]
            if still:  # a status would wait for it
                self.error, self.cure = "; ".join(one["why"] for one in still), still[0]["cure"]
                self._whole_at = 0.0
            else:
                old = not self._whole_at or begun - self._whole_at > min(max(FRESH_S, SHARE * self.answer_s), LONGEST_S)
                if old or self._carried is None or not self._carried.carry_on(told):
                    await self._ask_whole()
                self.error = self.cure = ""
        except (AskError, msgspec.DecodeError) as failed:
            self.error, self.cure, self.loops, self._whole_at = str(failed), "", [], 0.0
        self._octets = b""
        self._asked_at = time.monotonic()
        self._read_events()
        if not self.error and self._carried is not None:
            self._count(self._carried.at_s)

    async def _ask_whole(self) -> None:
        begun, changes = time.monotonic(), self._changes
        self.questions["whole"] += 1
        octets = await asyncio.to_thread(ask_bytes, self.run_dir, {"command": "status", "hints": True}, ANSWER_S)
        self.status = msgspec.json.decode(octets)
        self._carried = Carried(self.status)
        self.answer_s = time.monotonic() - begun
        if changes == self._changes:  # else it may have been made before what we were told of
            self._whole_at = begun

    @property
    def octets(self) -> bytes:
        """The status as JSON."""
        self._octets = self._octets or msgspec.json.encode(self.status)
        return self._octets

    def _read_events(self) -> None:
        try:
            if self._follower is None:
                path = os.path.join(self.run_dir, FILE)
                self._follower = journal.Follower(path)
                self.events.extend(journal.read(path))
            else:
                self.events.extend(self._follower.fresh())
        except (AskError, OSError):
            self._follower = None

    def _count(self, now: float) -> None:
        """How many adverts of the master's were sent or heard a second, since the last question."""
        names = set()
        for one in self.status.get("instances", ())[:SERIES]:
            name, counted = one["name"], one["statistics"]
            names.add(name)
            total = counted.get("adverts_sent", 0) + counted.get("adverts_received", 0)
            before = self._counts.get(name)
            if before is not None and now - before[0] < 0.75:
                continue  # too short a time to count in
            self._counts[name] = (now, total)
            if before is None or now - before[0] > 5 or total < before[1]:
                continue
            interval_s = one["advert_interval_s"] if one["state"] == "MASTER" else one["master_advert_interval_s"]
            rate = (total - before[1]) / (now - before[0])
            kept = self.series.setdefault(name, deque(maxlen=SAMPLES))
            kept.append((round(time.time(), 3), round(rate, 3), round(1 / interval_s, 3) if interval_s else 0.0))
        for gone in self.series.keys() - names:
            del self.series[gone]
        self._counts = {name: counted for name, counted in self._counts.items() if name in names}
