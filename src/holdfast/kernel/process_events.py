"""Forks, executions and ends of processes, told by the kernel: the process connector over netlink.

The kernel tells only its first network namespace, and asks that the listener belongs to the first user and process
namespaces; so the socket is opened in the network namespace of process 1. What threads do is dropped by a socket
filter. Sources: linux/cn_proc.h, linux/connector.h, Documentation/driver-api/connector.rst.
"""

import ctypes
import errno as errno_numbers
import os
import socket
import struct
from enum import IntEnum

from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.namespaces import FIRST_NETWORK, in_network

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33

_NLMSG = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_CN_MSG = struct.Struct("=IIIIHH")  # idx, val, seq, ack, length, flags
_EVENT = struct.Struct("=IIQ")  # what, processor, time
_HEAD_BYTES = _NLMSG.size + _CN_MSG.size
_BODY = _HEAD_BYTES + _EVENT.size
_READ_BYTES = 8192

BUFFER_BYTES = 1 << 20
MOST_BUFFER_BYTES = 64 << 20


class What(IntEnum):
    """What happened to a process, with its value on the wire."""

    NONE = 0  # the answer to our wish to be told
    FORK = 1
    EXEC = 2
    COMM = 0x200
    EXIT = 0x80000000


class Happening:
    """One event: of FORK `pid` is the child and `parent` its parent's process; `error`: of the answer, an errno."""

    __slots__ = ("error", "parent", "pid", "what")

    def __init__(self, what: What, pid: int, parent: int = 0, error: int = 0) -> None:
        self.what = what
        self.pid = pid
        self.parent = parent
        self.error = error


def decode(octets: bytes) -> Happening | None:
    """The event in one netlink message; None for a thread's, for others, and for what is cut short."""
    if len(octets) < _BODY + 8:
        return None
    what = _EVENT.unpack_from(octets, _HEAD_BYTES)[0]
    if what == What.NONE:
        return Happening(What.NONE, 0, error=struct.unpack_from("=I", octets, _BODY)[0])
    if what == What.FORK:
        if len(octets) < _BODY + 16:
            return None
        _, parent, pid, group = struct.unpack_from("=IIII", octets, _BODY)
        return Happening(What.FORK, pid, parent) if pid == group else None
    pid, group = struct.unpack_from("=II", octets, _BODY)
    if pid != group or what not in (What.EXEC, What.COMM, What.EXIT):
        return None
    return Happening(What(what), pid)


def _filter() -> bytes:
    """Classic BPF: let answers, forks, executions, new names and ends of processes through, nothing of threads."""
    load, to_x, is_, is_x, jump, give = 0x20, 0x07, 0x15, 0x1D, 0x05, 0x06

    def swapped(value: int) -> int:  # the filter loads in network order what stands there in the machine's
        return int(struct.unpack(">I", struct.pack("=I", value))[0])

    program = [
        (load, 0, 0, _HEAD_BYTES),
        (is_, 12, 0, swapped(What.NONE)),  # take
        (is_, 3, 0, swapped(What.FORK)),  # to 6
        (is_, 6, 0, swapped(What.EXEC)),  # to 10
        (is_, 5, 0, swapped(What.COMM)),  # to 10
        (is_, 4, 9, swapped(What.EXIT)),  # to 10, or drop
        (load, 0, 0, _BODY + 8),  # 6: of a fork, the child
        (to_x, 0, 0, 0),
        (load, 0, 0, _BODY + 12),
        (jump, 0, 0, 3),  # to 13
        (load, 0, 0, _BODY),  # 10: of others, the one it happened to
        (to_x, 0, 0, 0),
        (load, 0, 0, _BODY + 4),
        (is_x, 0, 1, 0),  # 13: is it its group's first?
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


class ProcessEvents:
    """The socket. `confirmed` once the kernel has said that it tells."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES, force: bool = True) -> None:
        """Open it and ask to be told; raises KernelRefused."""
        self.buffer_bytes = buffer_bytes or BUFFER_BYTES
        self._option = _SO_RCVBUFFORCE if force else socket.SO_RCVBUF
        self.confirmed = False
        self._socket = _opened()
        try:
            self._make_room()
            self._attach()
            self._socket.bind((0, _CN_IDX_PROC))
            body = struct.pack("=I", _PROC_CN_MCAST_LISTEN)
            head = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(body), 0)
            length = _HEAD_BYTES + len(body)
            self._socket.send(_NLMSG.pack(length, 3, 0, 0, 0) + head + body)
        except OSError as refused:
            self._socket.close()
            cure = "the kernel tells its first network namespace only, and this daemon may not go there"
            cure = cure if refused.errno == errno_numbers.ECONNREFUSED else ""
            raise KernelRefused("be told of processes", "", refused.errno or errno_numbers.EIO, cure) from refused

    def _attach(self) -> None:
        program = ctypes.create_string_buffer(_filter(), len(_filter()))
        reference = struct.pack("@HP", len(program) // 8, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, reference)

    def _make_room(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, self._option, self.buffer_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer_bytes)

    def fileno(self) -> int:
        """What to wait on."""
        return self._socket.fileno()

    def read(self, most: int) -> tuple[list[Happening], bool]:
        """At most so many messages' events; and whether events were lost: the buffer is then twice as large."""
        happened: list[Happening] = []
        for _ in range(most):
            try:
                octets, sender = self._socket.recvfrom(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as refused:
                if refused.errno != errno_numbers.ENOBUFS:
                    raise KernelRefused("be told of processes", "", refused.errno or errno_numbers.EIO) from refused
                if self.buffer_bytes < MOST_BUFFER_BYTES:
                    self.buffer_bytes *= 2
                    self._make_room()
                return happened, True
            if sender[0]:
                continue  # not from the kernel
            event = decode(octets)
            if event is not None:
                happened.append(event)
        return happened, False

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _opened() -> socket.socket:
    """The socket, in the first network namespace where we may go there, else in ours."""
    try:
        elsewhere = os.stat("/proc/self/ns/net").st_ino != os.stat(FIRST_NETWORK).st_ino
    except OSError:
        elsewhere = False
    if elsewhere:
        try:
            with in_network(FIRST_NETWORK):
                return _socket()
        except KernelRefused:
            pass  # what ours refuses is said
    return _socket()


def _socket() -> socket.socket:
    try:
        return socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
        )
    except OSError as refused:
        cure = "a kernel with CONFIG_PROC_EVENTS is needed"
        raise KernelRefused("be told of processes", "", refused.errno or errno_numbers.EIO, cure) from refused
