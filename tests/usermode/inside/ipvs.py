"""What tests of the kernel's table share: a namespace each, ipvsadm as the second opinion, counted system calls."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.base.address import parse
from holdfast.base.ipvs import INET, INET6, PROTOCOL_NUMBERS, DestinationKey, ServiceKey
from holdfast.kernel.ipvs import IpvsSocket
from tests.kernel.namespaces import Namespace


def key(protocol: str, address: str, port: int) -> ServiceKey:
    """A service by address."""
    where = parse(address)
    return ServiceKey(INET if len(where) == 4 else INET6, PROTOCOL_NUMBERS[protocol], where, port)


def server(address: str, port: int) -> DestinationKey:
    """A real server."""
    return DestinationKey(parse(address), port)


def ipvsadm(*words: str) -> list[str]:
    """What ipvsadm prints, without empty lines."""
    said = subprocess.run(["ipvsadm", *words], check=True, capture_output=True, text=True).stdout
    return [line for line in said.splitlines() if line]


class CountedSocket:
    """A socket that counts the system calls made of it."""

    def __init__(self, counted: Any) -> None:
        self._socket = counted
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self._socket, name)


class CountingIpvs(IpvsSocket):
    """IPVS with its system calls counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = CountedSocket(self._socket)
        self._socket = self.counted  # type: ignore[assignment]

    def calls(self) -> int:
        """System calls since the last time asked."""
        made, self.counted.calls = self.counted.calls, 0
        return made


@contextmanager
def fresh() -> Iterator[CountingIpvs]:
    """A network namespace of its own, and its IPVS."""
    place = Namespace()
    with place.entered():
        made = CountingIpvs()
        yield made
        made.close()
    place.close()
