"""Tests that need a kernel with IPVS run in a user-mode one: booted here, pytest inside, its words on failure."""

import sys

from holdfast.lab.user_mode import run_inside


def run_tests_inside(*paths: str, timeout_s: float = 240) -> None:
    """All tests of each `tests/usermode/inside/PATH` pass in a kernel of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    status, said = run_inside([*command, *(f"tests/usermode/inside/{path}" for path in paths)], timeout_s=timeout_s)
    assert status == 0, said
    print(said)
