"""The file one operator really runs, with its slips: two holdfasts as it stands, and its cleaned form beside keepalived."""

import signal
import time
from pathlib import Path

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from tests.interop.routers import OURS

SAMPLE = (Path(__file__).parent / "operators" / "sample.conf").read_text()
VIP = "10.201.36.14"
MINE, THEIRS = "10.201.36.9", "10.201.36.8"
# notify and notify_stop of the sample, made to exist: what it was called with, a line a call
RECORD = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/calls"\n'
CHECK = '#!/bin/sh\ntest ! -e "$(dirname "$0")/broken"\n'


class Member:
    """One of the operator's two hosts."""

    def __init__(self, host: Host, mine: str, theirs: str, priority: int, clean: bool) -> None:
        self.host, self.mine = host, mine
        host.links.add_address("eth0", mine, 24)
        record = host.write("keepalived_state.sh", RECORD, 0o755)
        check = host.write("check.sh", CHECK, 0o755)
        text = SAMPLE.replace("/usr/local/sbin/keepalived_state.sh", record).replace("path/to/script.sh", check)
        text = text.replace(MINE, "@mine").replace(THEIRS, theirs).replace("@mine", mine)
        text = text.replace("priority 102", f"priority {priority}").replace("interval 2", "interval 1")
        if clean:
            words = ("my IP", "my peer's IP", "the VIP we're sharing (details)")
            for remark in words:
                text = text.replace(remark, "")
            text = text.replace("virtual_router_id 1,", "virtual_router_id 1")
        self.text = text
        self.daemon: Spawned | None = None

    def start(self, kind: str) -> Spawned:
        self.daemon = (start_holdfast if kind == "holdfast" else start_keepalived)(self.host, self.text)
        return self.daemon

    def calls(self) -> list[str]:
        path = self.host.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def break_check(self) -> None:
        (self.host.directory / "broken").touch()


def _pair(lab: Lab, clean: bool) -> tuple[Member, Member, Host]:
    first = Member(lab.host("server01"), MINE, THEIRS, 102, clean)
    second = Member(lab.host("server02"), THEIRS, MINE, 101, clean)
    client = lab.host("client")
    client.links.add_address("eth0", "10.201.36.1", 24)
    return first, second, client


def _only(client: Host, owner: Member, other: Member, seconds: float) -> None:
    wait_until(
        lambda: who_answers(client, VIP, 0.03) == {owner.host.mac} and not other.host.holds(VIP),
        seconds,
        f"only {owner.host.name} answers for {VIP}",
    )
    assert owner.host.holds(VIP)


def _live(lab: Lab, first_kind: str, second_kind: str, clean: bool) -> None:
    first, second, client = _pair(lab, clean)
    first.start(first_kind)
    _only(client, first, second, 12)
    second.start(second_kind)
    wait_until(lambda: "INSTANCE cluster BACKUP 101" in second.calls(), 8, "the second says BACKUP")
    # rise of the check adds its weight of 2 to the priority, as the adverts show
    wire = lab.capture(frozenset((112,)))
    wait_until(lambda: any(a.priority == 104 for a in wire.adverts()), 8, "priority 102 + 2 on the wire")
    assert first.calls()[-1].startswith("INSTANCE cluster MASTER 10")
    first.break_check()
    begun = time.time_ns()
    wait_until(
        lambda: any(a.priority == 102 and a.time_ns > begun for a in wire.adverts()), 8, "a failing check takes it back"
    )
    # the second now outranks it (101 + 2), but with nopreempt it stays where it is
    since = time.time_ns()
    wait_until(lambda: len([a for a in wire.adverts() if a.time_ns > since]) >= 4, 12, "the first goes on")
    assert {a.source for a in wire.adverts() if a.time_ns > since} == {first.mine}
    _only(client, first, second, 1)
    assert first.daemon is not None
    assert second.daemon is not None
    first.daemon.signal(signal.SIGTERM)
    _only(client, second, first, 6)
    assert first.daemon.wait(5) == 0
    # the two scripts of one stop run beside each other in keepalived
    assert set(first.calls()[-2:]) == {"INSTANCE cluster STOP 102", "unknown_type unknown_name STOPPED"}
    wait_until(lambda: second.calls()[-1].startswith("INSTANCE cluster MASTER 103"), 3, "notified")
    if second_kind == "holdfast":
        (instance,) = holdfast_status(second.host)["instances"]
        assert (instance["name"], instance["state"], instance["effective_priority"]) == ("cluster", "MASTER", 103)
        assert instance["vrid"] == 1
    # back again, and the other one dies
    (first.host.directory / "broken").unlink()
    first.start(first_kind)
    wait_until(lambda: first.calls()[-1].startswith("INSTANCE cluster BACKUP 10"), 8, "the first is BACKUP")
    second.host.power_off()
    wait_until(lambda: who_answers(client, VIP, 0.03) == {first.host.mac}, 12, "the first takes over from the dead")
    first.daemon.signal(signal.SIGTERM)
    assert first.daemon.wait(5) == 0
    assert not first.host.holds(VIP)
    assert first.host.processes() == []


def test_as_it_stands_between_two_holdfasts(lab: Lab) -> None:
    _live(lab, "holdfast", "holdfast", clean=False)


def test_cleaned_beside_keepalived_as_the_better(lab: Lab) -> None:
    _live(lab, OURS, "keepalived", clean=True)


def test_cleaned_beside_keepalived_as_the_worse(lab: Lab) -> None:
    _live(lab, "keepalived", OURS, clean=True)
