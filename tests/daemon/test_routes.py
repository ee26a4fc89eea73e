"""Routes and rules that go where the master is, on the real kernel and beside a real keepalived."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from holdfast.lab.daemons import holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.daemon.route_lines import ROUTES, RULES, VIA, Row
from tests.daemon.two_hosts import BOOT_S, VIP, Site, state, worker_of


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def routes(host: Host) -> set[str]:
    """What `ip -d route` shows of keepalived's protocol, a line each."""
    shown = ""
    for family in ("-4", "-6"):
        shown += host.run("ip", "-d", family, "route", "show", "table", "all", "proto", "18")
    shown = re.sub(r"expires [0-9]+sec", "expires N", shown.replace("\n\t", " "))
    return {" ".join(line.split()) for line in shown.splitlines()}


def events(host: Host) -> list[dict[str, str]]:
    """The journal of the daemon there."""
    return [json.loads(line) for line in host.run("cat", "/run/holdfast/events.jsonl").splitlines()]


def rules(host: Host) -> set[str]:
    shown = host.run("ip", "-d", "rule") + host.run("ip", "-d", "-6", "rule")
    lines = {" ".join(line.split()) for line in shown.splitlines()}
    return {line for line in lines if not line.endswith(("proto kernel", "proto unspec"))}


def blocks(some_routes: tuple[Row, ...] | list[str], some_rules: tuple[Row, ...] | list[str] = ()) -> str:
    lines = [[row if isinstance(row, str) else row.line for row in some] for some in (some_routes, some_rules)]
    made = [f"virtual_{kind} {{\n" + "\n".join(some) + "\n}\n" for kind, some in zip(("routes", "rules"), lines, strict=True)]
    return "".join(made)


def instance(vrid: int, priority: int, inside: str) -> str:
    return f"""vrrp_instance web {{
    interface eth0
    version 3
    virtual_router_id {vrid}
    priority {priority}
    advert_int 0.1
    virtual_ipaddress {{
        {VIP}/24
    }}
    {inside}
}}
"""


def test_every_option_comes_out_as_in_keepalived(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    ours = start_holdfast(a, instance(51, 100, blocks(ROUTES, RULES)))
    theirs = [row for row in (*ROUTES, *RULES) if row.keepalived != ""]
    start_keepalived(b, instance(52, 100, blocks([row.line for row in theirs if row in ROUTES],
                                                 [row.line for row in theirs if row in RULES])))  # fmt: skip
    for host, expected_routes, expected_rules in (
        (a, {row.kernel for row in ROUTES}, {row.kernel for row in RULES}),
        (b, {row.keepalived or row.kernel for row in theirs if row in ROUTES},
         {row.keepalived or row.kernel for row in theirs if row in RULES}),
    ):  # fmt: skip
        wait_until(lambda: len(rules(host)) >= len(expected_rules), BOOT_S, f"{host.name} has its rules", step=0.1)  # noqa: B023
        wait_until(lambda: len(routes(host)) >= len(expected_routes), 3, f"{host.name} has its routes")  # noqa: B023
        assert routes(host) == expected_routes
        assert rules(host) == expected_rules
    assert "cannot" not in ours.text()
    ours.signal(signal.SIGUSR1)
    path = "/run/holdfast/keepalived.data"
    wait_until(lambda: "Virtual Rules" in a.run("sh", "-c", f"cat {path} /tmp/keepalived.data 2>/dev/null; true"), 5, "a dump")
    dump = {line.strip() for line in a.run("sh", "-c", f"cat {path} /tmp/keepalived.data 2>/dev/null; true").splitlines()}
    assert {row.dump for row in (*ROUTES, *RULES) if row.dump} <= dump
    ours.signal(signal.SIGTERM)
    ours.wait(5)
    assert routes(a) == rules(a) == set()


def test_they_go_to_a_keepalived_and_come_back(lab: Lab) -> None:
    inside = blocks([f"10.1.0.0/24 {VIA} src {VIP}", "blackhole 10.3.0.0/24"], [f"from {VIP} table 100 priority 500"])
    expected = {f"unicast 10.1.0.0/24 {VIA} table main scope global src {VIP}",
                "blackhole 10.3.0.0/24 table main scope global"}  # fmt: skip
    rule = {f"500: from {VIP} lookup 100 proto keepalived"}
    a, b = lab.host("a"), lab.host("b")
    first = start_holdfast(a, instance(51, 150, inside))
    wait_until(lambda: rules(a) == rule, BOOT_S, "a has the rule")
    start_keepalived(b, instance(51, 100, inside))
    wait_until(lambda: routes(a) == expected, 3, "a has the routes")
    first.signal(signal.SIGTERM)
    wait_until(lambda: routes(b) == expected and rules(b) == rule, 5, "b has them")
    wait_until(lambda: not (routes(a) or rules(a)), 3, "a has none")
    start_holdfast(a, instance(51, 150, inside))
    wait_until(lambda: routes(a) == expected and rules(a) == rule, BOOT_S, "a has them again")
    wait_until(lambda: not (routes(b) or rules(b)), 3, "b has none")


def test_put_back_left_alone_refused_reloaded_and_swept(lab: Lab) -> None:
    kept = f"10.1.0.0/24 {VIA}"
    lines = [kept, "10.2.0.0/24 dev far no_track", "10.3.0.0/24 via 203.0.113.1", "2001:db8:9::/64 dev eth0"]
    site = Site(lab, lambda host: blocks(lines, ["from 10.1.0.0/24 table 100 priority 500"]), alone=True)
    a, daemon = site.a, site.first
    shown = f"unicast {kept} table main scope global"
    wait_until(lambda: shown in routes(a), 3, "the route that can be there is")
    for said in (
        "cannot add route 10.3.0.0/24 via 203.0.113.1: network is unreachable; the kernel says 'Nexthop has ",
        "cannot add route 10.2.0.0/24 dev far: interface far does not exist",
    ):
        wait_until(lambda: said in daemon.text(), 3, said)  # noqa: B023
    a.run("ip", "link", "add", "far", "type", "veth", "peer", "name", "farther")
    a.run("ip", "link", "set", "farther", "up")
    for _ in range(2):  # it comes, goes and returns
        a.run("ip", "link", "set", "far", "up")
        wait_until(lambda: any(" dev far " in one for one in routes(a)), 3, "the route over far is there")
        a.run("ip", "link", "set", "far", "down")
    a.run("ip", "link", "set", "far", "up")
    wait_until(lambda: any(" dev far " in one for one in routes(a)), 3, "the route over far is there")
    assert state(a) == "MASTER"
    every = routes(a)
    a.run("ip", "route", "del", "10.1.0.0/24")
    a.run("ip", "-6", "route", "del", "2001:db8:9::/64")
    a.run("ip", "rule", "del", "priority", "500")
    wait_until(lambda: routes(a) == every and len(rules(a)) == 1, 3, "all is put back")
    for what in ("route 10.1.0.0/24", "route 2001:db8:9::/64", "rule from 10.1.0.0/24"):
        line = re.compile(re.escape(what) + ".* was removed by somebody: put back")
        wait_until(lambda: line.search(daemon.text()) is not None, 3, what)  # noqa: B023
    wait_until(lambda: sum(row["kind"] == "kernel" for row in events(a)) >= 3, 3, "three events")
    told = [row for row in events(a) if row["kind"] == "kernel"]
    for what in ("route 10.1.0.0/24", "route 2001:db8:9::/64", "rule from 10.1.0.0/24"):
        assert any(row["what"].startswith(what) and row["what"].endswith(" put back") for row in told)
    assert all("removed by " in row["cause"] for row in told)
    a.run("ip", "route", "del", "10.2.0.0/24")  # no_track: the next is put back, this one is not
    a.run("ip", "route", "del", "10.1.0.0/24")
    wait_until(lambda: shown in routes(a), 3, "put back")
    assert not any(" dev far " in one for one in routes(a))
    lines[:] = [kept, f"10.5.0.0/24 {VIA}"]
    before = a.run("ip", "-d", "route", "show", "10.1.0.0/24")
    site.reload(a, site.text(a, 150))
    wait_until(lambda: any("10.5.0.0" in one for one in routes(a)), 3, "the new one")
    wait_until(lambda: not any("2001:db8:9::" in one for one in routes(a)), 3, "the old one is gone")
    assert a.run("ip", "-d", "route", "show", "10.1.0.0/24") == before
    assert state(a) == "MASTER"
    subprocess.run(["kill", "-9", str(worker_of(daemon))], check=True)
    wait_until(lambda: not routes(a), 3, "the routes of the dead worker are gone")
    wait_until(lambda: shown in routes(a), BOOT_S, "MASTER again")
    assert "left behind" not in daemon.text()  # the supervisor removed them, not the next worker


def test_left_overs_of_a_dead_run_are_removed_and_an_interface_that_is_down_is_a_fault(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    peer = start_keepalived(b, instance(51, 200, ""))
    wait_until(lambda: b.holds(VIP), BOOT_S, "b is master")
    a.run("ip", "link", "add", "far", "type", "veth", "peer", "name", "farther")
    for name in ("far", "farther"):
        a.run("ip", "link", "set", name, "up")
    a.run("ip", "route", "add", "10.1.0.0/24", "via", "192.0.2.9", "proto", "18")
    a.run("ip", "route", "add", "10.4.0.0/24", "via", "192.0.2.9")  # somebody else's
    a.run("ip", "rule", "add", "from", "10.1.0.0/24", "table", "100", "priority", "500", "protocol", "18")
    lines = [f"10.1.0.0/24 {VIA}", f"10.4.0.0/24 {VIA}", "10.2.0.0/24 dev far"]
    daemon = start_holdfast(a, instance(51, 100, blocks(lines, ["from 10.1.0.0/24 table 100 priority 500"])))
    wait_until(lambda: state(a) == "BACKUP", BOOT_S, "BACKUP", step=0.05)
    assert routes(a) == rules(a) == set()
    assert "10.4.0.0/24 via" in a.run("ip", "route")
    assert "Removed route 10.1.0.0/24 via 192.0.2.9 dev eth0: left behind by an earlier run" in daemon.text()
    peer.signal(signal.SIGTERM)
    peer.wait(5)
    wait_until(lambda: len(routes(a)) == 3 and len(rules(a)) == 1, 3, "a is master")
    start_keepalived(b, instance(51, 200, ""))
    wait_until(lambda: state(a) == "BACKUP", BOOT_S, "BACKUP again", step=0.05)
    assert routes(a) == rules(a) == set()
    a.run("ip", "link", "set", "far", "down")
    wait_until(lambda: state(a) == "FAULT", 3, "FAULT")
    assert holdfast_status(a)["instances"][0]["faults"] == ["interface far is down"]
    a.run("ip", "link", "set", "far", "up")
    wait_until(lambda: state(a) == "BACKUP", 3, "BACKUP again")


STATIC = """static_routes {
    10.%d.0.0/24 dev eth0
    10.7.0.0/24 dev late track_group all
}
static_rules {
    from 10.6.0.0/24 table 100 priority 600
}
track_group all {
    group {
        web
    }
}
"""


def test_static_ones_are_kept_whatever_the_state(lab: Lab) -> None:
    a = lab.host("a")
    daemon = start_holdfast(a, STATIC % 6 + instance(51, 100, ""))
    shown = "unicast 10.6.0.0/24 dev eth0 table main scope link"
    wait_until(lambda: state(a) == "FAULT", BOOT_S, "FAULT without the interface late", step=0.05)
    assert holdfast_status(a)["instances"][0]["faults"] == ["static route 10.7.0.0/24 dev late is down"]
    assert routes(a) == {shown}
    assert len(rules(a)) == 1
    a.run("ip", "link", "add", "late", "type", "veth", "peer", "name", "later")
    a.run("ip", "link", "set", "later", "up")
    a.run("ip", "link", "set", "late", "up")
    wait_until(lambda: a.holds(VIP), 5, "MASTER")
    every = routes(a)
    assert len(every) == 2
    a.run("ip", "route", "del", "10.6.0.0/24")
    a.run("ip", "rule", "del", "priority", "600")
    wait_until(lambda: routes(a) == every and len(rules(a)) == 1, 3, "put back")
    a.write("keepalived.conf", STATIC % 8 + instance(51, 100, ""))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: any("10.8.0.0" in one for one in routes(a)), 5, "the new one")
    assert shown not in routes(a)
    daemon.signal(signal.SIGTERM)
    daemon.wait(5)
    assert routes(a) == rules(a) == set()
