"""A socket filter that absorbs routine adverts inside the kernel, assembled and loaded here through bpf(2).

A socket's map has an entry for each VRID. A packet that agrees with its VRID's entry in length, TTL, source,
destination and the first eight octets of the VRRP message (version, VRID, priority, count, interval, checksum) stamps
the entry with the kernel's monotonic time, adds one to its count, and is dropped: the daemon sleeps on. Everything else
is delivered whole: other priorities (0 among them), sources, lengths, checksums, TTLs, and VRIDs nobody watches.
The map lies in our memory (BPF_F_MMAPABLE), so asking when a master was last heard costs no system call.

An entry, 64 octets, host byte order except the octets compared with the packet:

    0  u8 enabled   1 u8 TTL   2 u16 –   4 u32 length    8 first 8 octets of the VRRP message
    16 source (IPv4: source and destination, 8)          32 destination (IPv6)
    48 u64 last heard, ns of CLOCK_MONOTONIC            56 u64 count

Sources: bpf(2), bpf-helpers(7), linux/bpf.h.
"""

import ctypes
import errno as errno_numbers
import mmap
import os
import socket
import struct
from collections.abc import Sequence

from holdfast.base.address import Address
from holdfast.base.time import Nanoseconds
from holdfast.kernel.errors import KernelRefused

ENTRIES = 256
_ENTRY_BYTES = 64
_WORDS = _ENTRY_BYTES // 8
_HEARD_WORD, _COUNT_WORD = 6, 7

_SYSTEM_CALL = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "ppc64le": 361,
    "s390x": 351,
    "armv7l": 386,
    "armv6l": 386,
    "i686": 357,
}
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_TYPE_ARRAY, _F_MMAPABLE = 2, 1 << 10
_PROG_TYPE_SOCKET_FILTER = 1
_SO_ATTACH_BPF = 50
_LICENCE = b"Apache-2.0"
_ATTRIBUTE_BYTES = 120
_HELPER_LOOKUP, _HELPER_KTIME, _HELPER_LOAD_BYTES, _HELPER_LOAD_RELATIVE = 1, 5, 26, 68
_FROM_NETWORK_HEADER = 1

_libc = ctypes.CDLL(None, use_errno=True)


class AdvertFilterUnavailable(KernelRefused):
    """This kernel or our privileges allow no advert filter: adverts are then drained and compared in the daemon."""


# ---- the assembler: one function an instruction; `to` is a label ---------------------------------------------------

_Line = tuple[int, int, int, int, int, str] | str  # code, destination, source, offset, immediate, label; or a label


def _move(destination: int, source: int) -> _Line:
    return 0xBF, destination, source, 0, 0, ""


def _set(destination: int, value: int) -> _Line:
    return 0xB7, destination, 0, 0, value, ""


def _plus(destination: int, value: int) -> _Line:
    return 0x07, destination, 0, 0, value, ""


def _load(width: int, destination: int, source: int, offset: int) -> _Line:
    return {1: 0x71, 4: 0x61, 8: 0x79}[width], destination, source, offset, 0, ""


def _store(width: int, destination: int, offset: int, source: int) -> _Line:
    return {4: 0x63, 8: 0x7B}[width], destination, source, offset, 0, ""


def _call(helper: int) -> _Line:
    return 0x85, 0, 0, 0, helper, ""


def _unless(destination: int, value: int, to: str) -> _Line:
    return 0x55, destination, 0, 0, value, to  # jump when it differs from the number


def _if(destination: int, value: int, to: str) -> _Line:
    return 0x15, destination, 0, 0, value, to


def _unless_same(destination: int, source: int, to: str) -> _Line:
    return 0x5D, destination, source, 0, 0, to


def _assemble(lines: Sequence[_Line]) -> bytes:
    """The instructions, 8 octets each, labels resolved."""
    places: dict[str, int] = {}
    place = 0
    for line in lines:
        if isinstance(line, str):
            places[line] = place
        else:
            place += 1
    octets, place = b"", 0
    for line in lines:
        if isinstance(line, str):
            continue
        code, destination, source, offset, immediate, label = line
        place += 1
        registers = source << 4 | destination if _LITTLE else destination << 4 | source
        octets += struct.pack("=BBhi", code, registers, places[label] - place if label else offset, immediate)
    return octets


_LITTLE = struct.pack("=H", 1) == b"\x01\0"
_R0, _R1, _R2, _R3, _R4, _R5, _CONTEXT, _ENTRY, _FRAME = 0, 1, 2, 3, 4, 5, 6, 7, 10


def _read_headers(family: int) -> tuple[list[_Line], int, int]:
    """Instructions that put the IP header and the message's first 8 octets on the stack; where each then begins."""
    if family == socket.AF_INET:  # the packet begins at the IP header; 20 + 8 octets at -36: both halves aligned
        header, message = -36, -16
        lines = [_move(_R1, _CONTEXT), _set(_R2, 0), _move(_R3, _FRAME), _plus(_R3, header), _set(_R4, 28)]
        lines += [_call(_HELPER_LOAD_BYTES), _unless(_R0, 0, "deliver")]
        lines += [_load(1, _R1, _FRAME, header), _unless(_R1, 0x45, "deliver")]  # no IP options
        return lines, header, message
    header, message = -40, -48  # the packet begins at the VRRP message; the IPv6 header lies before it
    lines = [_move(_R1, _CONTEXT), _set(_R2, 0), _move(_R3, _FRAME), _plus(_R3, header), _set(_R4, 40)]
    lines += [_set(_R5, _FROM_NETWORK_HEADER), _call(_HELPER_LOAD_RELATIVE), _unless(_R0, 0, "deliver")]
    lines += [_load(1, _R1, _FRAME, header + 6), _unless(_R1, 112, "deliver")]  # no extension headers
    lines += [_move(_R1, _CONTEXT), _set(_R2, 0), _move(_R3, _FRAME), _plus(_R3, message), _set(_R4, 8)]
    lines += [_call(_HELPER_LOAD_BYTES), _unless(_R0, 0, "deliver")]
    return lines, header, message


def advert_program(family: int, map_fd: int) -> bytes:
    """The filter for raw protocol-112 sockets of `family`, over the map `map_fd`: 41 or 58 instructions of 8 octets."""
    read, header, message = _read_headers(family)
    lines: list[_Line] = [_move(_CONTEXT, _R1), *read]
    # the entry of this VRID
    lines += [_load(1, _R1, _FRAME, message + 1), _store(4, _FRAME, -56, _R1)]
    lines += [(0x18, _R1, 1, 0, map_fd, ""), (0, 0, 0, 0, 0, "")]  # a 16-octet instruction: the map
    lines += [_move(_R2, _FRAME), _plus(_R2, -56), _call(_HELPER_LOOKUP), _if(_R0, 0, "deliver"), _move(_ENTRY, _R0)]
    # does everything agree?
    lines += [_load(1, _R1, _ENTRY, 0), _if(_R1, 0, "deliver")]
    ttl_at = header + (8 if family == socket.AF_INET else 7)
    lines += [_load(1, _R1, _ENTRY, 1), _load(1, _R2, _FRAME, ttl_at), _unless_same(_R1, _R2, "deliver")]
    lines += [_load(4, _R1, _ENTRY, 4), _load(4, _R2, _CONTEXT, 0), _unless_same(_R1, _R2, "deliver")]
    compared = [(8, message)]
    if family == socket.AF_INET:
        compared += [(16, header + 12)]
    else:
        compared += [(16 + step, header + 8 + step) for step in (0, 8, 16, 24)]
    for expected, here in compared:
        lines += [_load(8, _R1, _ENTRY, expected), _load(8, _R2, _FRAME, here), _unless_same(_R1, _R2, "deliver")]
    # routine: stamp, count, drop
    lines += [_call(_HELPER_KTIME), _store(8, _ENTRY, 8 * _HEARD_WORD, _R0)]
    lines += [_set(_R1, 1), (0xDB, _ENTRY, _R1, 8 * _COUNT_WORD, 0, "")]  # an atomic add: two CPUs may be here
    lines += [_set(_R0, 0), (0x95, 0, 0, 0, 0, "")]
    lines += ["deliver", _set(_R0, -1), (0x95, 0, 0, 0, 0, "")]
    return _assemble(lines)


# ---- bpf(2) --------------------------------------------------------------------------------------------------------


def _bpf(command: int, attributes: bytes, operation: str) -> int:
    number = _SYSTEM_CALL.get(os.uname().machine)
    if number is None:
        raise AdvertFilterUnavailable(operation, "", errno_numbers.ENOSYS, "no advert filter on this processor yet")
    octets = ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    made = int(_libc.syscall(number, command, octets, _ATTRIBUTE_BYTES))
    if made < 0:
        errno = ctypes.get_errno()
        cure = "grant CAP_BPF, or CAP_SYS_ADMIN before Linux 5.8" if errno == errno_numbers.EPERM else ""
        raise AdvertFilterUnavailable(operation, "", errno, cure)
    return made


def _load_program(program: bytes) -> int:
    """The descriptor of the verified program."""
    instructions = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(_LICENCE)
    attributes = struct.pack(
        "=IIQQ",
        _PROG_TYPE_SOCKET_FILTER,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
    )
    return _bpf(_PROG_LOAD, attributes, "load the advert filter")


class AdvertFilter:
    """The filter on one socket: which adverts are routine, and when each was last heard."""

    def __init__(self, map_fd: int, shared: mmap.mmap, family: int) -> None:
        self._map_fd = map_fd
        self._shared = shared
        self._octets = memoryview(shared)
        self._words = self._octets.cast("Q")  # whole words: the kernel writes them under our eyes
        self._family = family

    @classmethod
    def attach(cls, listening: socket.socket, family: int) -> "AdvertFilter":
        """Put a filter that absorbs nothing yet on a raw protocol-112 socket; AdvertFilterUnavailable says why not."""
        wanted = struct.pack("=IIIII", _MAP_TYPE_ARRAY, 4, _ENTRY_BYTES, ENTRIES, _F_MMAPABLE)
        map_fd = _bpf(_MAP_CREATE, wanted, "make the map of the advert filter")
        try:
            program_fd = _load_program(advert_program(family, map_fd))
            try:
                listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program_fd)
            finally:
                os.close(program_fd)  # the socket holds it now
            shared = mmap.mmap(map_fd, ENTRIES * _ENTRY_BYTES)
        except AdvertFilterUnavailable:
            os.close(map_fd)
            raise
        except OSError as refused:
            os.close(map_fd)
            raise AdvertFilterUnavailable("attach the advert filter", "", refused.errno or 0) from None
        return cls(map_fd, shared, family)

    def watch(
        self, vrid: int, source: Address, destination: Address, length_bytes: int, head8: bytes, ttl: int = 255
    ) -> None:
        """From now on absorb adverts of `vrid` that are exactly so; what was heard before is forgotten.

        `length_bytes` is what the socket delivers: for IPv4 the whole packet with its IP header, for IPv6 the VRRP
        message. `head8` is the first eight octets of the VRRP message.
        """
        assert len(head8) == 8, head8
        assert head8[1] == vrid, head8
        start = vrid * _ENTRY_BYTES
        self.unwatch(vrid)
        octets = self._octets
        octets[start + 4 : start + 16] = struct.pack("=I8s", length_bytes, head8)
        octets[start + 16 : start + 48] = struct.pack("=32s", source + destination)
        self._words[vrid * _WORDS + _HEARD_WORD] = 0
        self._words[vrid * _WORDS + _COUNT_WORD] = 0
        octets[start + 1] = ttl
        octets[start] = 1

    def unwatch(self, vrid: int) -> None:
        """Deliver every advert of `vrid` again; `heard` still tells what was absorbed."""
        self._octets[vrid * _ENTRY_BYTES] = 0

    def watching(self, vrid: int) -> bool:
        """Whether routine adverts of `vrid` are absorbed."""
        return bool(self._octets[vrid * _ENTRY_BYTES])

    def heard(self, vrid: int) -> tuple[Nanoseconds, int]:
        """(when the last routine advert was absorbed, or 0; how many were) since `watch`. No system call."""
        word = vrid * _WORDS
        return self._words[word + _HEARD_WORD], self._words[word + _COUNT_WORD]

    def absorbed(self) -> tuple[bytes, bytes]:
        """`heard` of every VRID, as two arrays of 64-bit words."""
        return self._words[_HEARD_WORD::_WORDS].tobytes(), self._words[_COUNT_WORD::_WORDS].tobytes()

    def stamp(self, vrid: int) -> tuple[memoryview, int]:
        """Where the time of `heard` stands: the map as 64-bit words, and which of them. For reading in a hot loop."""
        return self._words, vrid * _WORDS + _HEARD_WORD

    def close(self) -> None:
        """Give the map back; close the socket first or with it, else it goes on absorbing."""
        for vrid in range(ENTRIES):
            self.unwatch(vrid)
        self._words.release()
        self._octets.release()
        self._shared.close()
        os.close(self._map_fd)
