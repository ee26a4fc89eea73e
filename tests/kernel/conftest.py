from collections.abc import Iterator

import pytest

from holdfast.lab.hosts import wait_until
from tests.kernel.namespaces import Namespace, ip, wire


@pytest.fixture
def alone() -> Iterator[Namespace]:
    """The test runs in a namespace of its own with two interfaces, d0 and d1, up (ends of veth pairs: p0, p1)."""
    place = Namespace()
    with place.entered():
        for name, peer in (("d0", "p0"), ("d1", "p1")):
            ip("link", "add", name, "type", "veth", "peer", "name", peer)
            ip("link", "set", peer, "up")
            ip("link", "set", name, "up")
        yield place
    place.close()


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces joined by a cable: va (192.0.2.1, fe80::1) and vb (192.0.2.2, fe80::2)."""
    one, other = Namespace(), Namespace()
    wire(one, other)
    for place, name, number in ((one, "va", 1), (other, "vb", 2)):
        with place.entered():
            # the kernel lets packets through, and makes its own IPv6 address, when it has seen the carrier
            wait_until(lambda name=name: "state UP" in ip("link", "show", name), 5, f"{name} is up")  # type: ignore[misc]
            ip("address", "add", f"192.0.2.{number}/24", "dev", name)
            ip("-6", "address", "flush", "dev", name)
            ip("address", "add", f"fe80::{number}/64", "dev", name, "nodad")
    yield one, other
    one.close()
    other.close()
