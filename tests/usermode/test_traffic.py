"""Real connections through a director in a kernel that can be one."""

from tests.usermode.boot import run_tests_inside


def test_connections_are_spread_as_the_schedulers_say_and_survive_the_director() -> None:
    run_tests_inside("test_traffic.py", "test_connection_sync.py")


def test_a_pair_of_directors() -> None:
    run_tests_inside("test_director_pair.py")


def test_routes_in_a_vrf() -> None:
    run_tests_inside("test_vrf_routes.py")
