"""A status carried on by what is only routine says what a whole one would say."""

import copy
import json
import re
import struct
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.export.web.routine import Carried
from holdfast.lab.daemons import holdfast_status
from tests.export.web_site import WebSite, web_site

SECOND = 10**9


def row(name: str, state: str, ago_s: float | None, takes_over_in_s: float | None) -> dict[str, Any]:
    return {
        "name": name, "state": state, "statistics": {"adverts_sent": 100, "adverts_received": 200},
        "last_heard": None if ago_s is None else {"address": "192.0.2.2", "priority": 150, "ago_s": ago_s},
        "takes_over_in_s": takes_over_in_s, "master_down_interval_s": 3.6, "preempt_in_s": None, "starts_in_s": None,
    }  # fmt: skip


STATUS = {
    "worker_pid": 7, "time": "then", "instances": [row("m", "MASTER", 50.0, None), row("b", "BACKUP", 0.5, 3.1)],
    "routine": {"at": 60 * SECOND, "by_name": {
        "m": {"beat": 3, "strokes": 40}, "b": {"port": "eth0 4 112", "vrid": 2, "heard_at": 59 * SECOND, "count": 9},
    }},
}  # fmt: skip


def told(strokes: int = 50, heard_at: int = 69 * SECOND, count: int = 19, **more: Any) -> dict[str, Any]:
    """10 s later."""
    words = [struct.pack("=4Q", 0, 0, heard_at, 0), struct.pack("=4Q", 0, 0, count, 0)]
    ports = {"eth0 4 112": [b64encode(one).decode() for one in words]}
    routine = {"at": 70 * SECOND, "beats": {"3": strokes}, "ports": ports}
    return {"worker_pid": 7, "time": "now", "routine": routine, **more}


def shown(carried: Carried) -> list[tuple[int, int, float | None, float | None]]:
    return [
        (one["statistics"]["adverts_sent"], one["statistics"]["adverts_received"],
         one["last_heard"] and one["last_heard"]["ago_s"], one["takes_over_in_s"])
        for one in carried.status["instances"]
    ]  # fmt: skip


def test_what_was_sent_and_heard_since() -> None:
    carried = Carried(copy.deepcopy(STATUS))
    assert carried.carry_on(told())
    assert shown(carried) == [(110, 200, 60.0, None), (100, 210, 1.0, 2.6)]
    assert carried.status["time"] == "now"
    assert "routine" not in carried.status
    assert carried.carry_on(told())  # from the whole one, not from itself
    assert shown(carried) == [(110, 200, 60.0, None), (100, 210, 1.0, 2.6)]


def test_nothing_heard_since() -> None:
    carried = Carried(copy.deepcopy(STATUS))
    assert carried.carry_on(told(heard_at=59 * SECOND, count=9))
    assert shown(carried)[1] == (100, 200, 10.5, 0)


@pytest.mark.parametrize(
    "later",
    [
        told(strokes=39),  # another beat has its number
        told(count=8),  # watched anew
        told(worker_pid=8),
        told(routine=None),
        told(routine={"at": 0, "beats": {}, "ports": {}}),
    ],
)
def test_when_a_whole_one_is_needed(later: dict[str, Any]) -> None:
    assert not Carried(copy.deepcopy(STATUS)).carry_on(later)


@pytest.mark.parametrize(
    ("one", "rests"),
    [
        (row("c", "FAULT", None, None), True),
        (row("c", "MASTER", None, None), False),
        (row("c", "BACKUP", 1.0, 3.0), False),
        ({**row("c", "FAULT", None, None), "starts_in_s": 1.0}, False),
    ],
)
def test_an_instance_without_routine(one: dict[str, Any], rests: bool) -> None:
    status = copy.deepcopy(STATUS)
    status["instances"] = [*copy.deepcopy(STATUS)["instances"], one]  # type: ignore[misc]
    assert Carried(status).carry_on(told()) is rests


@pytest.fixture(scope="module")
def site() -> Iterator[WebSite]:
    with web_site() as made:
        yield made


def questions(site: WebSite) -> dict[str, float]:
    """How many the daemon was asked, by kind."""
    lines = site.ask("GET", "/metrics")[2].decode().splitlines()
    found = [re.match(r'holdfast_web_questions_total\{kind="(\w+)"\} ([\d.]+)', line) for line in lines]
    return {one[1]: float(one[2]) for one in found if one}


def test_it_agrees_with_a_whole_one(site: WebSite) -> None:
    """Ten adverts a second each: after 5 s of routine both say the same, but for those of the moment between."""
    site.get("/api/status")
    before = questions(site)
    for _ in range(5):
        time.sleep(1)
        site.get("/api/status")
    after = questions(site)
    assert after["routine"] - before["routine"] >= 2
    assert after["whole"] - before["whole"] <= 2  # one in 5000 times the time it takes, which is about a millisecond
    carried, whole = site.get("/api/status"), holdfast_status(site.b)
    assert carried.keys() == whole.keys()
    for mine, real in zip(carried["instances"], whole["instances"], strict=True):
        assert mine.keys() == real.keys()
        for word in ("adverts_sent", "adverts_received"):
            assert -12 <= mine["statistics"][word] - real["statistics"][word] <= 0, word
        assert {key for key in mine if mine[key] != real[key]} <= {"statistics", "last_heard", "takes_over_in_s"}
    [backup] = [one for one in carried["instances"] if one["state"] == "BACKUP"]
    assert backup["last_heard"]["ago_s"] < 0.3
    assert backup["statistics"]["adverts_received"] > 35  # 50, and what is told may be a second old
    assert json.dumps(carried).count("routine") == 0
