"""What a node does not use, it does not carry: modules are loaded when a plan first asks for them."""

import re

import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_state, source_environment
from holdfast.lab.hosts import Lab, wait_until

PLAIN = """
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    priority 255
    virtual_ipaddress {
        192.0.2.100/24
    }
    INSIDE
}
"""

BFD = "bfd_instance there {\n neighbor_ip 192.0.2.9\n}\n"


@pytest.mark.parametrize(
    ("before", "inside", "loaded"),
    [
        ("", "", set()),
        (BFD, "track_bfd {\n there weight 10\n }", {"bfd.machine", "edge.bfd"}),
        ("", "virtual_routes {\n 198.51.100.0/24 dev eth0\n }", {"edge.routes"}),
        ("", "use_vmac vrrp.51", {"edge.virtual_devices"}),
        ("carp_instance two {\n interface eth0\n vhid 7\n password secret\n virtual_ipaddress {\n 192.0.2.101/24\n }\n}\n",
         "", {"carp.machine"}),
    ],
)  # fmt: skip
def test_modules_come_with_what_needs_them(lab: Lab, before: str, inside: str, loaded: set[str]) -> None:
    host = lab.host("host")
    path = host.write("keepalived.conf", before + PLAIN.replace("INSIDE", inside))
    daemon = host.spawn(
        *holdfast_command("run", "-f", path, "--run-dir", "/run/holdfast"),
        environment=source_environment() | {"PYTHONPROFILEIMPORTTIME": "1"},
    )
    wait_until(lambda: holdfast_state(host) == "MASTER", 10, "MASTER")
    seen = set(re.findall(r"import time:.*\| +holdfast\.(\S+)", daemon.text()))
    parts = {"bfd.machine", "edge.bfd", "edge.routes", "edge.virtual_devices", "carp.machine", "edge.mail", "daemon.mailing",
             "daemon.bus", "daemon.web"}  # fmt: skip
    assert seen & parts == loaded
    assert "edge.worker" in seen  # it is told of at all
