"""Lines of the FIFO and the log."""

import pytest

from holdfast.lvs.lines import fifo_line, log_lines
from holdfast.lvs.machine import ServerState, ServiceState
from holdfast.lvs.messages import (
    Effect,
    PoolChanged,
    QuorumGained,
    QuorumLost,
    ServerDown,
    ServerUp,
    WeightChanged,
)
from tests.lvs.pools import real, service, sorry

WEB = service(
    real("10.0.0.2", 8080), real("fd00::2", inhibit=True), protocol=6, sorry=sorry("10.0.0.9", 81), quorum=3, hysteresis=1
)
STATE = ServiceState(servers=(ServerState(), ServerState(failed=(1,))))


@pytest.mark.parametrize(
    ("effect", "fifo", "log"),
    [
        (ServerUp(0), "RS [10.0.0.2]:tcp:8080 [192.0.2.1]:tcp:80 UP",
         ["Adding service [10.0.0.2]:tcp:8080 to VS [192.0.2.1]:tcp:80"]),
        (ServerDown(0), "RS [10.0.0.2]:tcp:8080 [192.0.2.1]:tcp:80 DOWN",
         ["Removing service [10.0.0.2]:tcp:8080 from VS [192.0.2.1]:tcp:80"]),
        (ServerDown(0, stopping=True), "RS [10.0.0.2]:tcp:8080 [192.0.2.1]:tcp:80 DOWN",
         ["Shutting down service [10.0.0.2]:tcp:8080 from VS [192.0.2.1]:tcp:80"]),
        (ServerUp(1), "RS [fd00::2]:tcp:80 [192.0.2.1]:tcp:80 UP",
         ["Enabling service [fd00::2]:tcp:80 of VS [192.0.2.1]:tcp:80"]),
        (ServerDown(1), "RS [fd00::2]:tcp:80 [192.0.2.1]:tcp:80 DOWN",
         ["Disabling service [fd00::2]:tcp:80 of VS [192.0.2.1]:tcp:80"]),
        (ServerUp(0, at_start=True), None, []),
        (QuorumGained(4), "VS [192.0.2.1]:tcp:80 UP",
         ["Gained quorum 3+1=4 <= 4 for VS [192.0.2.1]:tcp:80",
          "Removing sorry server [10.0.0.9]:tcp:81 from VS [192.0.2.1]:tcp:80",
          "Adding alive servers to the pool for VS [192.0.2.1]:tcp:80"]),
        (QuorumLost(1), "VS [192.0.2.1]:tcp:80 DOWN",
         ["Lost quorum 3-1=2 > 1 for VS [192.0.2.1]:tcp:80",
          "Adding sorry server [10.0.0.9]:tcp:81 to VS [192.0.2.1]:tcp:80",
          "Removing alive servers from the pool for VS [192.0.2.1]:tcp:80"]),
        (QuorumLost(1, stopping=True), "VS [192.0.2.1]:tcp:80 DOWN",
         ["Lost quorum 3-1=2 > 1 for VS [192.0.2.1]:tcp:80"]),
        (WeightChanged(0, 1, 5), None,
         ["Changing weight from 1 to 5 for active service [10.0.0.2]:tcp:8080 of VS [192.0.2.1]:tcp:80"]),
        (WeightChanged(1, 1, 5), None,
         ["Changing weight from 1 to 5 for inactive service [fd00::2]:tcp:80 of VS [192.0.2.1]:tcp:80"]),
        (PoolChanged(), None, []),
    ],
)  # fmt: skip
def test_lines(effect: Effect, fifo: str | None, log: list[str]) -> None:
    assert fifo_line(WEB, effect) == (None if fifo is None else f"{fifo}\n\0")
    assert list(log_lines(WEB, STATE, effect)) == log


def test_init_notifies() -> None:
    assert fifo_line(WEB, ServerUp(0, at_start=True), init_notifies=True) == (
        "RS [10.0.0.2]:tcp:8080 [192.0.2.1]:tcp:80 UP\n\0"
    )
