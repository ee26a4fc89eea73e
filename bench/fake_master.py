"""A master made of nothing but adverts: any number of VRRPv3 instances, sent with sendmmsg(2).

`python -m bench.fake_master COUNT PRIORITY INTERVAL_S` runs on the peer until it is killed; it never resigns.
"""

import ctypes
import gc
import socket
import struct
import sys
import time

from bench.sites import advert_socket, peer_address, split, vip
from holdfast.base.checksum import internet_checksum

GROUP = socket.inet_aton("224.0.0.18")


def advert(cable: int, vrid: int, priority: int, interval_s: float) -> bytes:
    """A VRRPv3 advert (RFC 5798 §5.1), the checksum with the pseudo header."""
    interval_cs = round(interval_s * 100)
    body = struct.pack("!BBBBHH", 0x31, vrid, priority, 1, interval_cs, 0) + socket.inet_aton(vip(cable, vrid))
    pseudo = socket.inet_aton(peer_address(cable)) + GROUP + struct.pack("!BBH", 0, 112, len(body))
    return body[:6] + struct.pack("!H", internet_checksum(pseudo + body)) + body[8:]


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("name_length", ctypes.c_uint), ("vectors", ctypes.POINTER(_Iovec)),
        ("vector_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("sent", ctypes.c_uint), ("rest", ctypes.c_uint),
    )  # fmt: skip


class Burst:
    """Many adverts, ready to leave by one system call."""

    def __init__(self, sender: socket.socket, adverts: list[bytes]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._sender, self._count = sender, len(adverts)
        self._to = struct.pack("=H2x", socket.AF_INET) + GROUP + bytes(8)
        self._adverts = adverts  # ctypes keeps pointers only
        self._vectors = (_Iovec * self._count)(*(_Iovec(octets, len(octets)) for octets in adverts))
        self._messages = (_Message * self._count)()
        for message, vector in zip(self._messages, self._vectors, strict=True):
            message.name, message.name_length = self._to, len(self._to)
            message.vectors, message.vector_count = ctypes.pointer(vector), 1

    def send(self) -> None:
        """All of them, now; OSError when the kernel refuses."""
        done = 0
        while done < self._count:
            at = ctypes.byref(self._messages, done * ctypes.sizeof(_Message))
            sent = self._libc.sendmmsg(self._sender.fileno(), at, self._count - done, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            done += sent


def main() -> None:
    """Send for ever."""
    count, priority, interval_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    by_cable: dict[int, list[bytes]] = {}
    for cable, vrid in split(count):
        by_cable.setdefault(cable, []).append(advert(cable, vrid, priority, interval_s))
    bursts = [Burst(advert_socket(peer_address(cable)), adverts) for cable, adverts in by_cable.items()]
    gc.disable()
    due = time.monotonic()
    while True:
        for burst in bursts:
            burst.send()
        due += interval_s
        time.sleep(max(due - time.monotonic(), 0))


if __name__ == "__main__":
    main()
