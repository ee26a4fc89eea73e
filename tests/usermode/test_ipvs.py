"""The kernel's table of virtual servers, in a kernel that has one."""

from tests.usermode.boot import run_tests_inside


def test_the_table_is_changed_and_read_back() -> None:
    run_tests_inside("test_ipvs.py")
