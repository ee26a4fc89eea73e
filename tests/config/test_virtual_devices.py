"""`use_vmac` and its relatives: names, MACs, and who is on which interface."""

from pathlib import Path

import pytest

from holdfast.base.address import text
from holdfast.vrrp.config import VirtualDevice
from tests.config.reading import check, whats


def _file(*instances: str, glob: str = "") -> str:
    blocks = [
        f"vrrp_instance i{number} {{\n virtual_router_id {number}\n interface eth0\n{lines}\n}}"
        for number, lines in enumerate(instances, 1)
    ]
    return f"global_defs {{\n{glob}\n}}\n" + "\n".join(blocks)


V4 = "virtual_ipaddress {\n 192.0.2.1/24\n}\n"
V6 = "virtual_ipaddress {\n fe80::1/64\n}\n"


def _shown(device: VirtualDevice) -> str:
    return f"{device.name} {device.kind} on {device.base} {device.mac.hex(':')} {device.mode}"


@pytest.mark.parametrize(
    ("lines", "devices"),
    [
        (V4 + "use_vmac", ["vrrp.1 macvlan on eth0 00:00:5e:00:01:01 private"]),
        (V6 + "use_vmac", ["vrrp6.1 macvlan on eth0 00:00:5e:00:02:01 private"]),
        (V4 + "use_vmac vm0", ["vm0 macvlan on eth0 00:00:5e:00:01:01 private"]),
        (V4 + "use_vmac name vm0 02:11:22:33:44:55", ["vm0 macvlan on eth0 02:11:22:33:44:55 private"]),
        (V4 + "use_vmac vm0 02:11:22:33:44", ["vm0 macvlan on eth0 02:11:22:33:44:01 private"]),
        (V4 + "use_vmac vm0 02:11:22:33:44\nstrict_mode on", ["vm0 macvlan on eth0 00:00:5e:00:01:01 private"]),
        (V4 + "use_ipvlan ipv0 192.0.2.9/24 vepa", ["ipv0 ipvlan on eth0  vepa"]),
        (V4, []),
        ("virtual_ipaddress {\n 192.0.2.1/24 use_vmac\n}", ["vrrp.1 macvlan on eth0 00:00:5e:00:01:01 private"]),
        (
            "use_vmac\nuse_vmac_addr\nvirtual_ipaddress {\n 192.0.2.1/24\n 192.0.2.2/24 dev eth1\n}\n"
            "virtual_ipaddress_excluded {\n 2001:db8::1/64\n}",
            [
                "vrrp.1 macvlan on eth0 00:00:5e:00:01:01 private",
                "vrrp1.1 macvlan on eth1 00:00:5e:00:01:01 private",
                "vrrp6.1 macvlan on eth0 00:00:5e:00:02:01 private",
            ],
        ),
    ],
)
def test_what_is_made(tmp_path: Path, lines: str, devices: list[str]) -> None:
    assert [_shown(one) for one in check(tmp_path, _file(lines)).plan.devices] == devices


def test_names_are_those_nobody_has(tmp_path: Path) -> None:
    plan = check(tmp_path, _file(V4 + "use_vmac vmac.2", V4 + "use_vmac", glob="vmac_prefix vmac")).plan
    assert [one.interface for one in plan.instances] == ["vmac.2", "vmac1.2"]
    assert {one.base for one in plan.instances} == {"eth0"}


def test_adverts_of_unicast_and_vmac_xmit_base_leave_by_the_base(tmp_path: Path) -> None:
    unicast = "unicast_peer {\n 192.0.2.8\n}\n"
    lines = [V4 + "use_vmac", V4 + "use_vmac\nvmac_xmit_base", V4 + unicast + "use_vmac"]
    plan = check(tmp_path, _file(*lines)).plan
    assert [one.wire for one in plan.instances] == ["vrrp.1", "eth0", "eth0"]
    assert [one.home for one in plan.instances] == ["eth0", "eth0", "eth0"]


def test_an_ipvlan_needs_an_ipv4_address(tmp_path: Path) -> None:
    checked = check(tmp_path, _file(V4 + "use_ipvlan"))
    assert whats(checked) == ["10: i1: an ipvlan needs an IPv4 address of its own"]
    assert checked.plan.instances[0].faults == ("its ipvlan has no IPv4 address",)


def test_the_base_joins_what_the_vmac_may_not_report(tmp_path: Path) -> None:
    lines = "use_vmac\nvirtual_ipaddress {\n fe80::64/64\n 2001:db8::1234:5678/64\n}"
    (device,) = check(tmp_path, _file(lines)).plan.devices
    assert [text(one) for one in device.joins] == ["ff02::12", "ff02::1:ff00:64", "ff02::1:ff34:5678"]


def test_two_virtual_routers_of_one_number_on_one_base(tmp_path: Path) -> None:
    text_ = _file(V4 + "use_vmac va", V4 + "use_vmac vb").replace("virtual_router_id 2", "virtual_router_id 1")
    assert check(tmp_path, text_).verdict == "refused"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("use_vmac vm0 nonsense-and-more-of-it", "'nonsense-and-more-of-it' means nothing to use_vmac"),
        ("use_vmac group many", "many is no link group"),
        ("vmac_xmit_base", "i1 has no VMAC"),
        ("use_vmac\nuse_ipvlan", "i1 cannot run on a VMAC and on an ipvlan"),
        ("use_vmac name a-name-that-is-too-long", "a-name-that-is-too-long is too long for an interface"),
    ],
)
def test_what_is_told(tmp_path: Path, line: str, what: str) -> None:
    (told,) = whats(check(tmp_path, _file(V4 + line)))
    assert told.endswith(": " + what)
