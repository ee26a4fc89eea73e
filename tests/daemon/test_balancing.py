"""Virtual servers on a kernel that has none: one clear line, and everything else goes on."""

from collections.abc import Iterator

import pytest

from holdfast.lab.daemons import holdfast_state, holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until

TEXT = """
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
}
virtual_server 192.0.2.100 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.0.2.7 80 {
        TCP_CHECK {
        }
    }
}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def test_a_kernel_without_ipvs_is_said_once_and_elections_go_on(lab: Lab) -> None:
    host = lab.host("host")
    daemon = start_holdfast(host, TEXT)
    wait_until(lambda: host.holds("192.0.2.100"), 10, "the instance is master")
    given_up = "Nothing is balanced until the next reload"
    wait_until(lambda: given_up in daemon.text() or has_services(host), 10, "it is said, or balanced")
    refused = given_up in daemon.text()  # else this kernel has IPVS after all
    assert daemon.text().count("balance connections with IPVS") == refused
    assert holdfast_state(host) == "MASTER"
    assert has_services(host) is not refused


def has_services(host: Host) -> bool:
    return bool(holdfast_status(host)["virtual_servers"])
