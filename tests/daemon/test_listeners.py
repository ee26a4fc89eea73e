"""Who is told what: the journal of every change of priority, the FIFO of those that were asked for."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.config.plan import Fifo, Settings
from holdfast.control import journal
from holdfast.daemon.listeners import Listeners
from holdfast.daemon.options import Options
from holdfast.edge.logs import open_log
from holdfast.edge.loop import Loop
from holdfast.engine.messages import PriorityNotice


class Hall:
    """Listeners with a FIFO and no instance."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        self.reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.loop = Loop()
        options = Options(config_file="", run_dir=str(directory))
        octets = msgspec.msgpack.encode({"settings": Settings(vrrp_notify_fifo=Fifo(path=str(fifo)))})
        self.listeners = Listeners(options, octets, self.loop, open_log(options))
        self.listeners.start(time.monotonic_ns())

    def fifo_lines(self) -> list[str]:
        try:
            return os.read(self.reader, 4096).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        self.listeners.close(time.monotonic_ns())
        os.close(self.reader)
        self.loop.close()


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    yield made
    made.close()


def test_a_priority_goes_into_the_journal_always_and_to_the_fifo_when_asked_for(hall: Hall) -> None:
    now = time.monotonic_ns()
    hall.listeners.take(PriorityNotice("web", "MASTER", 98, 100, "base 100", notify=False), now)
    hall.listeners.take(PriorityNotice("db", "MASTER", 97, 100, "base 100", notify=True), now)
    hall.listeners.on_due(now)
    assert hall.fifo_lines() == ['INSTANCE "db" MASTER_PRIORITY 97']
    rows = journal.read(str(hall.directory / "events.jsonl"))
    assert [(row["name"], row["what"]) for row in rows] == [("web", "priority 100 → 98"), ("db", "priority 100 → 97")]
