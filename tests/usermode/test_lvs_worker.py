"""The lvs worker, in a kernel with virtual servers."""

from tests.usermode.boot import run_tests_inside


def test_the_worker_keeps_the_table_by_its_checks() -> None:
    run_tests_inside("test_lvs_worker.py", "test_dumps.py")


def test_the_daemon_balances_from_a_plain_configuration() -> None:
    run_tests_inside("test_balancing_daemon.py")


def test_files_echoes_and_held_weights() -> None:
    run_tests_inside("test_checks_and_holds.py")


def test_a_worker_killed_under_load() -> None:
    run_tests_inside("test_killed_under_load.py")
