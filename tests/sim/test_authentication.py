"""Simulated hosts with AH and `auth_hmac`: they hear each other exactly where real ones would."""

from pathlib import Path

import pytest

from tests.sim.test_simulate import cluster, conf, told

KEY = "0123456789abcdef" * 4
AH = "authentication {{\n auth_type AH\n auth_pass {}\n }}"


def signed(number: int, mode: str = "enforce") -> str:
    return f"version 3\nauth_hmac {{\n key 1 hex:{KEY}\n key 2 hex:{KEY[::-1]}\n active_key {number}\n mode {mode}\n }}"


@pytest.mark.parametrize(
    ("first", "second", "spec", "owner", "outage_s"),
    [
        (AH.format("same"), AH.format("same"), "crash a", "b", 3.609375),
        (signed(1), signed(2), "crash a", "b", 3.609375),
        (signed(1), signed(1, "permissive"), "stop a", "b", 0.609375),
        (AH.format("same"), AH.format("same"), "stop b", "a", 0),
    ],
)
def test_they_hear_each_other(
    first: str, second: str, spec: str, owner: str, outage_s: float, tmp_path: Path
) -> None:
    during, outage, _, _ = told(cluster(tmp_path, conf(150, first), conf(100, second)), spec)
    assert (during, outage) == (owner, outage_s)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AH.format("one"), AH.format("other")),
        (AH.format("one"), ""),
        (signed(1), "version 3"),
        (signed(1, "receive-only"), signed(1)),
        (signed(1), signed(1).replace(KEY, KEY[:-1] + "0")),
    ],
)
def test_they_do_not_hear_each_other(first: str, second: str, tmp_path: Path) -> None:
    """Both are master, so nothing is missed when one stops."""
    during, outage, _, _ = told(cluster(tmp_path, conf(150, first), conf(100, second)), "stop a")
    assert (during, outage) == ("b", 0)
