"""The kernel's table of virtual servers, in a kernel that has one, beside ipvsadm and keepalived."""

from tests.usermode.boot import run_tests_inside


def test_the_table_is_as_wanted_and_as_keepalived_s_at_the_start_and_when_servers_die() -> None:
    run_tests_inside("test_ipvs.py", "test_beside_keepalived.py", "test_dying_servers.py")


def test_thousands_of_servers() -> None:
    run_tests_inside("test_scale.py")
