"""Runs inside the user-mode kernel: a route of an instance in the table of a VRF, a rule l3mdev, and packets by them."""

import signal

from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Lab, wait_until

TEXT = """
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    advert_int 0.2
    virtual_ipaddress {
        192.0.2.100/24
    }
    virtual_routes {
        10.1.0.0/24 dev far vrf red
        10.2.0.0/24 via 203.0.113.9 vrf far no_track
    }
    virtual_rules {
        l3mdev priority 900
    }
}
"""


def test_a_route_in_a_vrf() -> None:
    with Lab() as lab:
        host = lab.host("a")
        for words in (
            "add red type vrf table 10", "add far type veth peer name farther", "set far master red", "set red up",
            "set far up", "set farther up",
        ):  # fmt: skip
            host.run("ip", "link", *words.split())
        daemon = start_holdfast(host, TEXT)
        wait_until(lambda: "900:" in host.run("ip", "rule"), 30, "the rule is there", step=0.1)
        assert "10.1.0.0/24 dev far" in host.run("ip", "route", "show", "table", "10")
        assert "10.1.0.0/24" not in host.run("ip", "route")
        assert "dev far table 10" in host.run("ip", "route", "get", "10.1.0.5", "oif", "red")
        assert "interface far is no VRF; correct the name" in daemon.text()
        host.run("ip", "route", "del", "10.1.0.0/24", "table", "10")
        wait_until(lambda: "10.1.0.0/24" in host.run("ip", "route", "show", "table", "10"), 10, "put back", step=0.1)
        daemon.signal(signal.SIGTERM)
        daemon.wait(20)
        assert "10.1.0.0/24" not in host.run("ip", "route", "show", "table", "10")
        assert "900:" not in host.run("ip", "rule")
