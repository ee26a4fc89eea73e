"""Many packets in one system call: sendmmsg(2) and recvmmsg(2) over arrays made once.

A SendBatch is built when the configuration is loaded and sent at every interval: nothing is allocated meanwhile.
The arrays and the octets they point to live in memory that the batch owns, so no pointer outlives its target.
"""

import ctypes
import errno as errno_numbers
import struct
import sys
from collections.abc import Sequence

from holdfast.kernel.errors import KernelRefused

MSG_DONTWAIT = 0x40

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg, _recvmmsg = _libc.sendmmsg, _libc.recvmmsg
_get_errno = ctypes.get_errno
_pointer = ctypes.c_void_p


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


_STRIDE = ctypes.sizeof(_Mmsghdr)
_IOVEC, _MSGHDR = struct.Struct("@PN"), struct.Struct("@PIPNPNi")  # as the two structures above
_CMSG = struct.Struct("@Lii")  # length, level, type
_INT, _SHORT = struct.Struct("=i"), struct.Struct("=H")
_CMSG_ALIGN = ctypes.sizeof(ctypes.c_size_t)


def address_of(memory: bytearray) -> int:
    """Where it lies, good as long as it lives and keeps its size; 0 when it is empty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)) if memory else 0


def control_message(level: int, kind: int, payload: bytes) -> bytes:
    """One ancillary message (cmsg(3)), padded."""
    size = _CMSG.size + len(payload)
    return _CMSG.pack(size, level, kind) + payload + bytes(-size % _CMSG_ALIGN)


class SendBatch:
    """Messages ready to leave through one socket: (octets, destination as sockaddr, ancillary octets or b"") each.

    The octets are copied once; change them in place through `payload(i)` (their length is fixed). All of it, headers
    first, lies in one array whose size never changes: hosts have thousands of these.
    """

    __slots__ = ("_memory", "_start", "count", "errors", "fd")

    def __init__(self, fd: int, messages: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        self.fd = fd
        self.count = len(messages)
        self.errors: Sequence[tuple[int, int]] = ()
        """(position, errno) of each message the last `send` could not send."""
        iovec = self.count * _STRIDE
        place = iovec + self.count * _IOVEC.size
        space = sum((len(part) + 15) & ~15 for parts in messages for part in parts)
        memory = self._memory = bytearray(place + space)
        base = self._start = address_of(memory)
        for number, parts in enumerate(messages):
            starts = []
            for part in parts:
                memory[place : place + len(part)] = part
                starts.append(base + place if part else 0)
                place += (len(part) + 15) & ~15
            octets, name, control = parts
            _IOVEC.pack_into(memory, iovec, starts[0], len(octets))
            header = (starts[1], len(name), base + iovec, 1, starts[2], len(control), 0)
            _MSGHDR.pack_into(memory, number * _STRIDE, *header)
            iovec += _IOVEC.size

    def payload(self, number: int) -> memoryview:
        """The octets of message `number`, to be read or changed in place."""
        start, size = _IOVEC.unpack_from(self._memory, self.count * _STRIDE + number * _IOVEC.size)
        return memoryview(self._memory)[start - self._start : start - self._start + size]

    def send(self) -> int:
        """Send all, in order, never waiting; how many left. `errors` tells of the others.

        A full socket buffer (EAGAIN) stops it: what remains is reported with EAGAIN. Any other error concerns the one
        message; the rest is still sent.
        """
        count = self.count
        sent = _sendmmsg(self.fd, _pointer(self._start), count, MSG_DONTWAIT) if count else 0
        if sent == count:
            self.errors = ()
            return count
        return self._send_rest(sent, _get_errno())

    def _send_rest(self, sent: int, errno: int) -> int:
        """Go on after a message that could not be sent."""
        errors: list[tuple[int, int]] = []
        self.errors = errors
        done, position = 0, 0
        while True:
            if sent >= 0:
                done += sent
                position += sent
            elif errno == errno_numbers.EAGAIN:
                errors += [(number, errno) for number in range(position, self.count)]
                return done
            elif errno != errno_numbers.EINTR:
                errors.append((position, errno))
                position += 1
            if position >= self.count:
                return done
            here = self._start + position * _STRIDE
            sent = _sendmmsg(self.fd, _pointer(here), self.count - position, MSG_DONTWAIT)
            errno = _get_errno()


class JoinedBatch:
    """Several batches of the *same* socket that leave together, again and again, in one system call.

    It shares their octets: what is changed in one of them in place leaves changed.
    """

    def __init__(self, batches: Sequence[SendBatch]) -> None:
        assert len({batch.fd for batch in batches}) == 1, "batches of several sockets cannot leave together"
        self._parts = tuple(batches)  # keeps their memory alive
        self._all = SendBatch(batches[0].fd, ())
        self._all.count = sum(batch.count for batch in batches)
        self._all._memory = bytearray().join(batch._memory[: batch.count * _STRIDE] for batch in batches)
        self._all._start = address_of(self._all._memory)

    def send(self) -> list[tuple[int, int]]:
        """Send all, never waiting: (position of the batch, errno) of each message that could not be sent."""
        everything = self._all
        if everything.send() == everything.count:
            return []
        wrong, first, position = [], 0, 0
        for position, batch in enumerate(self._parts):
            wrong += [(position, errno) for at, errno in everything.errors if first <= at < first + batch.count]
            first += batch.count
        return wrong


class ReceiveBatch:
    """Up to `count` packets of at most `size` octets in one call; what `receive` filled is valid until the next."""

    _CONTROL_BYTES = 128
    _NAME_BYTES = 32

    def __init__(self, fd: int, count: int, size: int) -> None:
        self.fd = fd
        self._capacity = count
        space = (size + 15) & ~15
        self._octets = ctypes.create_string_buffer(count * space)
        self._names = ctypes.create_string_buffer(count * self._NAME_BYTES)
        self._controls = ctypes.create_string_buffer(count * self._CONTROL_BYTES)
        self._iovecs = (_Iovec * count)()
        self._headers = (_Mmsghdr * count)()
        for number in range(count):
            self._iovecs[number].base = ctypes.addressof(self._octets) + number * space
            self._iovecs[number].size = size
            header = self._headers[number].header
            header.iov = ctypes.addressof(self._iovecs) + number * ctypes.sizeof(_Iovec)
            header.iovlen = 1
            header.name = ctypes.addressof(self._names) + number * self._NAME_BYTES
            header.namelen = self._NAME_BYTES
            header.control = ctypes.addressof(self._controls) + number * self._CONTROL_BYTES
            header.controllen = self._CONTROL_BYTES
        self._fresh = bytes(self._headers)  # the kernel overwrites the lengths: put them back before each call
        self._pointer = ctypes.c_void_p(ctypes.addressof(self._headers))
        whole = memoryview(self._octets).cast("B")
        self._views = [whole[number * space : number * space + size] for number in range(count)]
        self._name_view = memoryview(self._names).cast("B")
        self._control_view = memoryview(self._controls).cast("B")
        self._words = memoryview(self._headers).cast("B").cast("I")
        self._length_word = _Mmsghdr.length.offset // 4
        self._flags_word = _Msghdr.flags.offset // 4
        self._controllen_word = _Msghdr.controllen.offset // 4
        if sys.byteorder == "big":
            self._controllen_word += _CMSG_ALIGN // 4 - 1
        self._stride_words = _STRIDE // 4

    def receive(self) -> int:
        """How many packets were waiting and are now here (0: none). Fewer than `count`: the socket is empty."""
        ctypes.memmove(self._pointer, self._fresh, len(self._fresh))
        got: int = _recvmmsg(self.fd, self._pointer, self._capacity, MSG_DONTWAIT, None)
        if got >= 0:
            return got
        errno = _get_errno()
        if errno in (errno_numbers.EAGAIN, errno_numbers.EINTR):
            return 0
        raise KernelRefused("receive packets", f"descriptor {self.fd}", errno)

    def payload(self, number: int) -> memoryview:
        """The octets of packet `number`."""
        return self._views[number][: self._words[number * self._stride_words + self._length_word]]

    def truncated(self, number: int) -> bool:
        """Whether packet `number` was longer than `size`."""
        return bool(self._words[number * self._stride_words + self._flags_word] & 0x20)

    def source(self, number: int) -> bytes:
        """The sender of packet `number`: 4 or 16 octets; empty when the socket does not tell."""
        start = number * self._NAME_BYTES
        family = _SHORT.unpack_from(self._name_view, start)[0]
        if family == 2:
            return bytes(self._name_view[start + 4 : start + 8])
        if family == 10:
            return bytes(self._name_view[start + 8 : start + 24])
        return b""

    def control(self, number: int, level: int, kind: int) -> memoryview | None:
        """The payload of the first ancillary message of this level and type with packet `number`."""
        place = number * self._CONTROL_BYTES
        end = place + self._words[number * self._stride_words + self._controllen_word]
        while place + _CMSG.size <= end:
            size, its_level, its_kind = _CMSG.unpack_from(self._control_view, place)
            if size < _CMSG.size:
                break
            if its_level == level and its_kind == kind:
                return self._control_view[place + _CMSG.size : place + size]
            place += (size + _CMSG_ALIGN - 1) & ~(_CMSG_ALIGN - 1)
        return None

    def hop_limit(self, number: int) -> int | None:
        """The IPv6 hop limit packet `number` came with (IPV6_RECVHOPLIMIT), if the socket tells."""
        told = self.control(number, 41, 52)
        return None if told is None else int(_INT.unpack(told)[0])

    def arrival(self, number: int) -> tuple[int, bytes] | None:
        """(interface index, destination address) of packet `number` (IP_PKTINFO, IPV6_RECVPKTINFO), if told."""
        told = self.control(number, 0, 8)
        if told is not None:
            return _INT.unpack(told[:4])[0], bytes(told[8:12])
        told = self.control(number, 41, 50)
        return None if told is None else (_INT.unpack(told[16:20])[0], bytes(told[:16]))
