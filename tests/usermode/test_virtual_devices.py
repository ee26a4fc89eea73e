"""VMACs on VLANs and in VRFs, and ipvlans, in a kernel that has them."""

from tests.usermode.boot import run_tests_inside


def test_vlan_vrf_and_ipvlan() -> None:
    run_tests_inside("test_virtual_devices.py")


def test_a_routing_domain_of_its_own() -> None:
    run_tests_inside("test_vrf_instance.py")
