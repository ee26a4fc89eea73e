"""FILE_CHECK, PING_CHECK, and weights that an operator holds, in the daemon."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast
from holdfast.lab.hosts import Lab, wait_until

TEXT = """
track_file load {{
    file {here}/load
    weight 2
    init_file 3
}}
virtual_server 192.0.2.200 80 {{
    lb_algo wrr
    lb_kind NAT
    protocol TCP
    real_server 192.0.2.11 80 {{
        weight 10
        FILE_CHECK {{
            track_file load
        }}
    }}
    real_server 192.0.2.12 80 {{
        weight 10
        FILE_CHECK {{
            track_file load
            weight 1 reverse
        }}
    }}
    real_server 192.0.2.13 80 {{
        weight 10
        inhibit_on_failure
        FILE_CHECK {{
            track_file load
            weight {last}
        }}
    }}
}}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def test_a_number_weighs_and_fails_servers_at_once(lab: Lab) -> None:
    host = lab.host("director")
    here = str(host.directory)

    def weights() -> list[str]:
        return [line.split()[-1] for line in host.run("ipvsadm", "-Sn").splitlines() if line.startswith("-a")]

    def comes(*wanted: str) -> None:
        wait_until(lambda: weights() == list(wanted), 5, f"{wanted}", step=0.05)

    daemon = start_holdfast(host, TEXT.format(here=here, last=0))
    comes("16", "7", "0")  # 10 + 2 x 3, 10 - 3; weight 0: any number but 0 is a failure
    host.write("load", "0\n")
    comes("10", "10", "10")
    host.write("load", "-8 is what we can do\n")
    comes("0", "18", "0")
    host.write("load", str(2**30))
    comes(str(2**31 - 1), "0", "0")
    host.write("load", str(-(2**31)))  # 2 x that is a failure: it leaves
    wait_until(lambda: len(weights()) == 2, 5, "one is gone", step=0.05)
    rows = holdfast_status(host)["virtual_servers"][0]["real_servers"]
    assert [row["state"] for row in rows] == ["down", "up", "down"]
    assert rows[0]["checks"][0]["detail"] == f"load: {-(2**31)} makes {-(2**32)}, a failure"
    host.write("keepalived.conf", TEXT.format(here=here, last=1))
    daemon.signal(signal.SIGHUP)
    host.write("load", "1\n")
    wait_until(lambda: sorted(weights()) == ["11", "12", "9"], 5, "after the reload it is another weight", step=0.05)
    assert "VRRP child" not in daemon.text()  # there is no instance for one
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


PING = """
virtual_server 192.0.2.200 80 {{
    delay_loop 0.2
    lb_algo wrr
    lb_kind NAT
    protocol TCP
    real_server {up} 80 {{
        weight 5
        PING_CHECK {{
        }}
    }}
    real_server {down} 80 {{
        weight 6
        PING_CHECK {{
            connect_timeout 0.2
        }}
    }}
}}
"""


def test_echoes_are_allowed_while_they_are_needed_and_a_held_weight_survives_a_restart(lab: Lab) -> None:
    host, there = lab.host("director"), lab.host("there")
    setting = "/proc/sys/net/ipv4/ping_group_range"
    before = host.run("cat", setting)

    def states() -> list[str]:
        try:
            rows = holdfast_status(host)["virtual_servers"]
        except subprocess.CalledProcessError:
            return []  # it does not answer yet
        return [row["state"] for row in rows[0]["real_servers"]] if rows else []

    daemon = start_holdfast(host, PING.format(up=there.ip4, down="192.0.2.99"))
    wait_until(lambda: states() == ["up", "down"], 10, "one answers, one does not", step=0.1)
    assert host.run("cat", setting) != before
    name, label = "192.0.2.200:80", f"{there.ip4}:80"
    host.run(*holdfast_command("server"), "weight", name, label, "3")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert host.run("cat", setting) == before
    daemon = start_holdfast(host, PING.format(up=there.ip4, down="192.0.2.99"))
    wait_until(lambda: f"-r {label} -m -w 3" in host.run("ipvsadm", "-Sn"), 10, "it is held", step=0.1)
    host.write("keepalived.conf", PING.format(up="192.0.2.98", down="192.0.2.99"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: host.run("ls", "/run/holdfast").count("server-holds") == 0, 10, "it is forgotten", step=0.1)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


BFD = """
bfd_instance server {{
    neighbor_ip {theirs}
    source_ip {mine}
    min_rx 100
    min_tx 100
    multiplier 3
}}
"""
BALANCED = """
virtual_server 192.0.2.200 80 {{
    lb_algo wrr
    lb_kind NAT
    protocol TCP
    real_server {theirs} 80 {{
        weight 5
        BFD_CHECK {{
            name server
        }}
    }}
}}
"""


def test_a_server_goes_and_comes_with_its_bfd_session(lab: Lab) -> None:
    host, there = lab.host("director"), lab.host("there")
    names = {"mine": host.ip4, "theirs": there.ip4}

    def weights() -> list[str]:
        return [line.split()[-1] for line in host.run("ipvsadm", "-Sn").splitlines() if line.startswith("-a")]

    daemon = start_holdfast(host, (BFD + BALANCED).format(**names))
    wait_until(lambda: "BFD_CHECK of server failed" in daemon.text(), 10, "there is no session yet", step=0.1)
    wait_until(lambda: weights() == [], 5, "no server", step=0.1)
    start_holdfast(there, BFD.format(mine=there.ip4, theirs=host.ip4))
    wait_until(lambda: weights() == ["5"], 15, "the session is up", step=0.1)
    (check,) = holdfast_status(host)["virtual_servers"][0]["real_servers"][0]["checks"]
    assert (check["kind"], check["ok"], check["detail"]) == ("BFD_CHECK", True, "BFD session server is up (session up)")
    lab.cut(there)
    wait_until(lambda: weights() == [], 5, "cut off it is gone", step=0.05)
    lab.heal()
    wait_until(lambda: weights() == ["5"], 15, "it is back", step=0.1)
    host.write("keepalived.conf", (BFD + BALANCED.replace("weight 5", "weight 7")).format(**names))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: weights() == ["7"], 5, "a reload knows what was told before it", step=0.1)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
