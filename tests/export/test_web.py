"""The web worker, asked by friends and by others: metrics, health, API, and what clients may not do to it."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from holdfast.export.web import metrics
from holdfast.export.web.bounds import PLACES
from holdfast.export.web.commands import Guard, RefusedError, request
from holdfast.export.web.reasons import reasons
from holdfast.export.web_messages import parse_listen
from holdfast.lab.daemons import holdfast_command
from holdfast.lab.hosts import descendants, wait_until
from tests.export.web_site import TOKEN, WebSite, web_site

ROOT = Path(__file__).parents[2]

BY_INSTANCE = {"iname", "intf", "vrid"}
COUNTERS = """gratuitous_arp_delay advertisements_received advertisements_sent become_master release_master
packet_length_errors advertisements_interval_errors ip_ttl_errors invalid_type_received address_list_errors
authentication_invalid authentication_mismatch authentication_failure priority_zero_received priority_zero_sent"""
EXPORTED = {f"keepalived_{name}_total": BY_INSTANCE for name in COUNTERS.split()} | {
    "keepalived_up": set(),
    "keepalived_vrrp_state": {*BY_INSTANCE, "ip_address"},
    "keepalived_vrrp_excluded_state": {*BY_INSTANCE, "ip_address"},
    "keepalived_script_status": {"name"},
    "keepalived_script_state": {"name"},
}
"""What the Prometheus exporter for keepalived gives, and its labels."""

MORE = """\
vrrp_script yes {
    script /usr/bin/true
    interval 1
}
vrrp_instance third {
    interface eth0
    version 3
    virtual_router_id 53
    priority 120
    advert_int 0.1
    garp_master_delay 7
    virtual_ipaddress {
        192.0.2.120/24
    }
    virtual_ipaddress_excluded {
        192.0.2.121/24
    }
    track_script {
        yes
    }
}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[WebSite]:
    with web_site(MORE) as made:
        wanted = ["BACKUP", "MASTER", "MASTER"]
        wait_until(lambda: [one["state"] for one in made.get("/api/status")["instances"]] == wanted, 10, "all decided")
        yield made


def web_process(site: WebSite) -> int:
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in descendants(site.second.pid)}
    return next(pid for pid, name in names.items() if name == "holdfast_web")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def families(octets: bytes) -> list[Any]:
    """What prometheus-client's own parser reads."""
    return list(openmetrics(octets.decode()))  # type: ignore[no-untyped-call]


# ---- metrics --------------------------------------------------------------------------------------------------------


def test_the_exporter_s_names_and_labels_and_ours(site: WebSite) -> None:
    status, headers, octets = site.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    samples = [sample for family in families(octets) for sample in family.samples]
    labels = {sample.name: set(sample.labels) for sample in samples}
    assert {name: labels.get(name) for name in EXPORTED} == EXPORTED

    def value(metric: str, **wanted: str) -> float:
        found = [s.value for s in samples if s.name == metric and wanted.items() <= s.labels.items()]
        assert len(found) == 1, (metric, wanted, found)
        return float(found[0])

    assert value("keepalived_up") == 1
    assert value("keepalived_vrrp_state", iname="web", ip_address="192.0.2.100", vrid="51", intf="eth0") == 1
    assert value("keepalived_vrrp_state", iname="mail", ip_address="192.0.2.110", vrid="52", intf="eth0") == 2
    assert value("keepalived_vrrp_excluded_state", iname="third", ip_address="192.0.2.121") == 2
    assert value("keepalived_become_master_total", iname="mail") == 1
    assert value("keepalived_gratuitous_arp_delay_total", iname="mail") == 5
    assert value("keepalived_gratuitous_arp_delay_total", iname="third") == 7
    assert value("keepalived_script_status", name="yes") == 1
    assert value("holdfast_state", instance_name="web", state="BACKUP") == 1
    assert value("holdfast_state", instance_name="web", state="MASTER") == 0
    assert value("holdfast_effective_priority", instance_name="mail") == 150
    assert [value("holdfast_loop_up", loop=one) for one in ("supervisor", "vrrp")] == [1, 1]
    assert value("holdfast_loop_lag_seconds_count", loop="supervisor") > 0
    assert all(value("holdfast_loop_lag_seconds_sum", loop=one) < 10 for one in ("supervisor", "vrrp"))
    sent = sum(value("keepalived_advertisements_sent_total", iname=one) for one in ("mail", "third"))
    late = value("holdfast_advert_lateness_seconds_count", loop="vrrp")
    assert 0.8 * sent - 6 <= late <= sent + 6  # the first of a master is no regular one
    assert value("holdfast_advert_lateness_seconds_bucket", loop="vrrp", le="1.0") <= late
    assert value("holdfast_advert_lateness_seconds_sum", loop="vrrp") <= late * 0.05
    assert abs(value("holdfast_last_transition_timestamp_seconds", instance_name="mail") - time.time()) < 120


def test_the_older_text_and_promtool(site: WebSite) -> None:
    status, headers, octets = site.ask("GET", "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert "keepalived_vrrp_state" in {family.name for family in plain(octets.decode())}
    checked = subprocess.run(["promtool", "check", "metrics"], input=octets, capture_output=True, check=False)
    remarks = [line for line in checked.stderr.decode().splitlines() if "keepalived_" not in line]
    assert not remarks, remarks  # what the exporter named is as it is


def test_the_page_of_metrics_has_each_of_them(site: WebSite) -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    told = {tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE)}
    _, _, octets = site.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    ends = {"counter": "_total", "info": "_info"}
    assert told == {(f.name + ends.get(f.type, ""), f.type) for f in families(octets)}


CHECK = {"kind": "HTTP_GET", "ok": False, "since": None, "last_run": "2026-01-01T00:00:00+00:00", "detail": "status 500",
         "duration_s": 0.25, "longest_s": 1.5}  # fmt: skip
SERVICE = {
    "name": "192.0.2.1:80", "protocol": "TCP", "forwarding": "NAT", "scheduler": "rr", "label": "", "quorum": 1,
    "quorum_met": False, "live_weight": 3, "suspended": False, "hysteresis": 0,
    "sorry_server": {"address": "10.0.0.9", "port": 80, "active": True},
    "connections": {"active": 5, "inactive": 6, "total": 90, "bytes_in": 1000, "bytes_out": 1100},
    "real_servers": [
        {"address": "10.0.0.7", "port": 80, "label": "[10.0.0.7]:tcp:80", "weight": 4, "effective_weight": 3, "alive": True,
         "state": "down", "held_weight": None, "slow_start_percent": None, "inhibit_on_failure": False, "checks": [CHECK],
         "connections": {"active": 5, "inactive": 6, "total": 70, "bytes_in": 800, "bytes_out": 900}},
    ],
}  # fmt: skip
"""A virtual server as the status shows it."""


def test_metrics_of_virtual_servers() -> None:
    now_s = 1767225602.5  # 2.5 s after the check was last made
    samples = [sample for family in metrics._services([SERVICE], now_s) for sample in family.samples]
    server = {"service": "192.0.2.1:80", "server": "[10.0.0.7]:tcp:80"}
    check = {**server, "check": "HTTP_GET", "number": "0"}
    assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
        ("holdfast_quorum_met", {"service": "192.0.2.1:80"}, 0),
        ("holdfast_live_weight", {"service": "192.0.2.1:80"}, 3),
        ("holdfast_service_connections", {"service": "192.0.2.1:80", "kind": "active"}, 5),
        ("holdfast_service_connections", {"service": "192.0.2.1:80", "kind": "inactive"}, 6),
        ("holdfast_service_accepted_connections_total", {"service": "192.0.2.1:80"}, 90),
        ("holdfast_service_bytes_total", {"service": "192.0.2.1:80", "direction": "in"}, 1000),
        ("holdfast_service_bytes_total", {"service": "192.0.2.1:80", "direction": "out"}, 1100),
        ("holdfast_server_alive", server, 1),
        ("holdfast_server_weight", server, 3),
        ("holdfast_server_connections", {**server, "kind": "active"}, 5),
        ("holdfast_server_connections", {**server, "kind": "inactive"}, 6),
        ("holdfast_server_accepted_connections_total", server, 70),
        ("holdfast_server_bytes_total", {**server, "direction": "in"}, 800),
        ("holdfast_server_bytes_total", {**server, "direction": "out"}, 900),
        ("holdfast_check_ok", check, 0),
        ("holdfast_check_age_seconds", check, 2.5),
        ("holdfast_check_duration_seconds", check, 0.25),
        ("holdfast_check_longest_seconds", check, 1.5),
    ]


def test_reasons_of_virtual_servers() -> None:
    status = {"instances": [], "sync_groups": [], "incidents": [], "virtual_servers": [SERVICE]}
    whole = reasons(status, "192.0.2.1:80", "", [])
    assert whole is not None
    assert whole["state"] == "DOWN"
    one = reasons(status, "192.0.2.1:80", "10.0.0.7:80", [])
    assert one is not None
    assert one["state"] == "DOWN"
    assert reasons(status, "192.0.2.1:80", "10.0.0.8", []) is None


def test_alert_rules_and_dashboard_name_metrics_that_are_there() -> None:
    rules = ROOT / "packaging/prometheus/holdfast.rules.yml"
    subprocess.run(["promtool", "check", "rules", rules], check=True, capture_output=True)
    dashboard = json.loads((ROOT / "packaging/grafana/holdfast.json").read_text())
    page = set(re.findall(r"`(\w+)` \|", (ROOT / "docs/reference/metrics.md").read_text()))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += re.findall(r"expr: (.+)", rules.read_text())
    found = [name for one in expressions for name in re.findall(r"\b(?:keepalived|holdfast)_\w+", one)]
    used = {name.removesuffix("_bucket") for name in found}
    assert len(expressions) > 12
    assert used <= page
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all({"type", "title", "gridPos", "datasource"} <= panel.keys() for panel in dashboard["panels"])
    for one in expressions:  # promtool reads each as a rule
        text = json.dumps({"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": one.replace("$host", ".*")}]}]})
        told = subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=text.encode(), capture_output=True,
                              check=False)  # fmt: skip
        assert told.returncode == 0, (one, told.stdout, told.stderr)


# ---- health and API -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/readyz?instance=mail", 200),
        ("/readyz?instance=web", 503),
        ("/readyz?instance=none", 404),
        ("/readyz?instanz=web", 400),
        ("/api/status", 200),
        ("/api/events?limit=3&instance=mail", 200),
        ("/api/events?limit=0", 400),
        ("/api/events?limit=1e3", 400),
        ("/api/adverts", 200),
        ("/api/why?name=web", 200),
        ("/api/why?name=none", 404),
        ("/api/why?name=web&server=10.0.0.7", 404),
        ("/api/why", 400),
        ("/static/app.js", 200),
        ("/static/none.js", 404),
        ("/static/../app.py", 404),
        ("/static/..%2fapp.py", 404),
        ("/static/%2e%2e/%2e%2e/app.py", 404),
        ("//etc/passwd", 404),
        ("/static/%00", 404),
        ("/api/switch", 405),
    ],
)
def test_paths(site: WebSite, path: str, status: int) -> None:
    told, headers, octets = site.ask("GET", path)
    assert told == status, octets
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    if status >= 400:
        assert json.loads(octets)["error"]


def test_the_api_says_what_the_commands_say(site: WebSite) -> None:
    told = {one["name"]: one["state"] for one in site.get("/api/status")["instances"]}
    assert told == {"web": "BACKUP", "mail": "MASTER", "third": "MASTER"}
    rows = site.get("/api/events?instance=mail&limit=1000")
    [master] = [row for row in rows if row.get("state") == "MASTER" and row["kind"] == "state"]
    assert master["cause"]
    assert not [row for row in rows if row["name"] == "web"]
    why = site.get("/api/why?name=web")
    assert (why["name"], why["state"]) == ("web", "BACKUP")
    assert why["reasons"][0]["text"]
    told = json.loads(site.b.run(*holdfast_command("why", "web", "--json", "--run-dir", "/run/holdfast")))
    assert why.keys() == told.keys()


def test_commands_need_the_token(site: WebSite) -> None:
    body, kind = b'{"instance": "web"}', {"Content-Type": "application/json"}
    for more in ({}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer wrong"}):
        status, headers, _ = site.ask("POST", "/api/release", body, **kind, **more)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert site.ask("POST", "/api/release", body, **right)[0] == 415
    assert site.ask("POST", "/api/release", b"{}" + b" " * 70_000, **kind, **right)[0] == 413
    assert site.ask("POST", "/api/release", b"[" * 60_000, **kind, **right)[0] == 400
    for wrong in ({}, {"instance": 3}, {"instance": "web", "more": 1}, {"instance": ""}):
        assert site.post("release", wrong)[0] == 400
    assert site.post("release", {"instance": "none"})[0] == 409
    status, _, octets = site.ask("POST", "/api/release", body, **kind, **right)
    assert (status, json.loads(octets)["instance"]) == (409, "web")  # nobody holds it


def test_a_switch_by_the_web_and_back(site: WebSite) -> None:
    assert site.post("switch", {"instance": "web", "direction": "here"})[0] == 200
    wait_until(lambda: site.b.holds("192.0.2.100"), 5, "b has taken over")
    assert site.get("/api/status")["instances"][0]["held"]["by"] == "switch --here by the web"
    assert site.post("release", {"instance": "web"})[0] == 200
    wait_until(lambda: site.a.holds("192.0.2.100") and not site.b.holds("192.0.2.100"), 5, "a has it again")


def test_who_may_command(tmp_path: Path) -> None:
    file = tmp_path / "token"

    def status(path: str, shown: str) -> int:
        try:
            Guard(path).check(shown)
        except RefusedError as no:
            return no.status if no.cure else 0
        return 200

    assert status("", f"Bearer {TOKEN}") == 403
    assert status(str(file), f"Bearer {TOKEN}") == 503
    file.write_text("short\n")
    file.chmod(0o600)
    assert status(str(file), "Bearer short") == 503
    file.write_text(f"{TOKEN}\n")
    assert status(str(file), f"Bearer {TOKEN}") == 200
    assert status(str(file), f"bearer  {TOKEN} ") == 200
    assert status(str(file), f"Bearer {TOKEN}x") == 401
    assert status(str(file), "Bearer \udcff") == 401
    file.chmod(0o644)
    assert status(str(file), f"Bearer {TOKEN}") == 503
    file.chmod(0o600)
    guard = Guard(str(file))
    for _ in range(10):
        with pytest.raises(RefusedError):
            guard.check("Bearer guess")
    with pytest.raises(RefusedError) as told:
        guard.check(f"Bearer {TOKEN}")
    assert told.value.status == 429


def test_what_a_command_becomes() -> None:
    server = b'{"service": "192.0.2.1:80", "server": "[10.0.0.7]:tcp:80", "weight": null}'
    assert request("server", server) == {
        "command": "server", "service": "192.0.2.1:80", "server": "[10.0.0.7]:tcp:80", "weight": None, "by": "the web",
    }  # fmt: skip
    assert request("reload", b"{}") == {"command": "reload", "by": "the web"}
    with pytest.raises(msgspec.ValidationError, match="weight"):
        request("server", server.replace(b"null", b"-1"))


@pytest.mark.parametrize("text", ["9650", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1]:x", ":9650"])
def test_what_is_no_place_to_listen_at(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:9650"):
        parse_listen(text)


def test_schemathesis_finds_nothing(site: WebSite) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", "http://127.0.0.1:9650/api/openapi.json",
        "--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "3", "--generation-deterministic",
        "--exclude-checks", "positive_data_acceptance",  # what is well said may still be refused: 409
        "--phases", "examples,coverage,fuzzing",
    ]  # fmt: skip
    told = site.b.run(*command, seconds=120, check=False)
    assert "Operations" in told, told
    assert "FAILURES" not in told, told[-6000:]
    assert "ERRORS" not in told, told[-6000:]


# ---- bad clients ----------------------------------------------------------------------------------------------------


def test_heads_that_are_none(site: WebSite) -> None:
    for head in (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, b"\x16\x03\x01\x02\x00" * 50 + b"\r\n\r\n", b"GET\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"):  # fmt: skip
        with site.connect() as link:
            with contextlib.suppress(OSError):
                link.sendall(head)
            assert link.recv(4096).startswith(b"HTTP/1.1 400")
    assert site.ask("GET", "/healthz")[0] == 200


@pytest.mark.alone
def test_a_thousand_who_say_nothing_and_slow_ones(site: WebSite) -> None:
    """Others are answered meanwhile, adverts leave in time, memory stays, and the slow are ended after 10 s."""
    process = web_process(site)
    site.ask("GET", "/metrics")
    before = resident_bytes(process)
    wire = site.lab.capture(frozenset((112,)))
    with contextlib.ExitStack() as kept:
        idle = [kept.enter_context(site.connect()) for _ in range(1000)]
        slow_head, slow_body, reader = (kept.enter_context(site.connect()) for _ in range(3))
        begun = time.monotonic()
        slow_body.sendall(b"POST /api/release HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                          b"Authorization: Bearer " + TOKEN.encode() + b"\r\nContent-Length: 50\r\n\r\n{")  # fmt: skip
        with contextlib.suppress(BlockingIOError):
            reader.setblocking(False)
            for _ in range(20_000):
                reader.send(b"GET /static/app.js HTTP/1.1\r\nHost: a\r\n\r\n")
        assert site.ask("GET", "/healthz")[0] == 200
        assert site.get("/api/status")["instances"]
        assert len(os.listdir(f"/proc/{process}/fd")) < PLACES + 30
        slow_head.settimeout(0.5)
        while time.monotonic() < begun + 14:
            try:
                slow_head.sendall(b"G")
                if not slow_head.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert 8 < time.monotonic() - begun < 14
        wait_until(lambda: ended(slow_body), 3, "the slow body is ended")
        assert sum(map(ended, idle)) >= 900
        assert resident_bytes(process) - before < 24 << 20
    times = [advert.time_ns for advert in wire.adverts() if advert.source == site.b.ip4]
    assert len(times) > 100
    by_pair = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(by_pair) < 250_000_000
    assert site.ask("GET", "/healthz")[0] == 200


def ended(link: socket.socket) -> bool:
    """Whether the other side has closed it."""
    link.setblocking(False)
    try:
        while octets := link.recv(65536):
            assert octets
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_it_has_no_privilege_left(site: WebSite) -> None:
    status = Path(f"/proc/{web_process(site)}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert re.findall(r"Cap(?:Prm|Eff|Bnd):\t(\w+)", status) == ["0" * 16] * 3


def test_a_stopped_worker_is_named(site: WebSite) -> None:
    """At once, without waiting for it, and only as long as it is stopped."""
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in descendants(site.second.pid)}
    worker = names["holdfast_vrrp"]
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: site.ask("GET", "/healthz")[0] == 503, 5, "somebody notices")
        begun = time.monotonic()
        told = json.loads(site.ask("GET", "/healthz")[2])
        assert told == {
            "error": f"the vrrp worker (pid {worker}) is stopped", "cure": f"let it go on: kill -CONT {worker}",
        }  # fmt: skip
        assert site.ask("GET", "/readyz")[0] == 503
        lines = site.ask("GET", "/metrics")[2].decode().splitlines()
        assert "keepalived_up 0.0" in lines
        assert 'holdfast_loop_up{loop="vrrp"} 0.0' in lines
        assert time.monotonic() - begun < 3
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: site.ask("GET", "/healthz")[0] == 200, 5, "it goes on")
    wait_until(lambda: site.b.holds("192.0.2.110"), 5, "it is master again")


def test_it_dies_alone_and_leaves_with_the_daemon(site: WebSite) -> None:
    """The last: afterwards nobody serves for 10 s."""
    os.kill(web_process(site), 9)
    wait_until(lambda: not site.listens(), 3, "nobody listens")
    assert site.states(site.b) == "BACKUP"
    assert site.b.holds("192.0.2.110")
    wait_until(lambda: site.listens(), 15, "it is started again")
