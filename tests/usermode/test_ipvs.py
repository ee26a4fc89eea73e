"""The kernel's table of virtual servers, in a kernel that has one."""

from tests.usermode.boot import run_tests_inside


def test_the_table_is_changed_and_read_back() -> None:
    run_tests_inside("test_ipvs.py")


def test_the_same_file_gives_the_same_table_as_keepalived_s() -> None:
    run_tests_inside("test_beside_keepalived.py")


def test_servers_die_and_return_as_with_keepalived() -> None:
    run_tests_inside("test_dying_servers.py")
