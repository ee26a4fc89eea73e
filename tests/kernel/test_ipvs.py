"""What can be said of IPVS on any kernel; the table itself is tested in tests/usermode."""

import pytest

from holdfast.kernel import ipvs
from holdfast.kernel.errors import KernelRefused


def test_a_kernel_without_it_is_told_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipvs, "FAMILY", b"NO_SUCH_FAMILY\0")
    with pytest.raises(KernelRefused) as caught:
        ipvs.IpvsSocket()
    said = str(caught.value)
    assert said.startswith("cannot balance connections with IPVS: no such file or directory; load it: modprobe ip_vs")
    assert said.count("\n") == 0
