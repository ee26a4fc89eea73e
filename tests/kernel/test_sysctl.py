"""Kernel settings are changed, put back, and refusals are named."""

from pathlib import Path

import pytest

from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.sysctl import Sysctls
from tests.kernel.namespaces import Namespace

NAME = "net/ipv4/conf/d0/promote_secondaries"


def read(name: str) -> str:
    return Path(f"/proc/sys/{name}").read_text().strip()


def test_a_setting_is_put_back_as_it_was(alone: Namespace) -> None:
    before = read(NAME)
    other = "1" if before == "0" else "0"
    changed = Sysctls()
    changed.set(NAME, other)
    changed.set(NAME, other)
    assert read(NAME) == other
    changed.restore()
    assert read(NAME) == before


def test_a_setting_that_is_not_there_is_named(alone: Namespace) -> None:
    with pytest.raises(KernelRefused, match=r"cannot set net\.ipv4\.conf\.nowhere\.promote_secondaries to 1"):
        Sysctls().set("net/ipv4/conf/nowhere/promote_secondaries", "1")
