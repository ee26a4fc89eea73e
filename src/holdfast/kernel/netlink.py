"""Routing netlink: ready-made bytes for addresses, batches with their errnos, dumps and notifications.

Addresses are encoded when the configuration is loaded (`address_messages`); a transition only patches the interface
index and sends. Only the last message of a piece asks for an acknowledgement: the kernel works through a piece in order
and reports every error anyway, so silence before the last acknowledgement means success. One address costs two system
calls, a thousand cost a handful.

IPv6: the kernel checks a new address for duplicates (some 1 to 2 seconds, `tentative`) and does not answer for it
meanwhile; keepalived leaves that to the operator (`-nodad` skips it), and so do we.

Sources: netlink(7), rtnetlink(7), linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h.
"""

import errno as errno_numbers
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from holdfast.base.address import Address
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.ports import (
    ADDRESS_PROTOCOL,
    IFA_F_HOMEADDRESS,
    IFA_F_MANAGETEMPADDR,
    IFA_F_MCAUTOJOIN,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFF_RUNNING,
    IFF_UP,
    AddressBytes,
    AddressGone,
    AddressLike,
    AddressSeen,
    LinkGone,
    LinkSeen,
    Notification,
    Overrun,
)

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 1, 5, 9

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_EXT_MASK = 1, 3, 4, 18, 29
_IFLA_LINK, _IFLA_MASTER, _IFLA_ALIAS, _IFLA_GROUP = 5, 10, 20, 27
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_VRF_TABLE = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 3, 4, 6, 8, 11
_RTEXT_FILTER_SKIP_STATS = 8

_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK = 270, 1, 10
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_FOREVER = 0xFFFFFFFF

_PIECE_BYTES = 32768  # a longer datagram needs a contiguous buffer the kernel may not have
_READ_BYTES = 65536  # the kernel makes no message longer than half of this
_BUFFER_BYTES = 4 << 20
_ACK_BYTES = 2048  # what one error message may cost of the receive buffer

_FLAG_BITS: tuple[tuple[Callable[[AddressLike], bool], int], ...] = (
    (lambda a: a.nodad, IFA_F_NODAD),
    (lambda a: a.home, IFA_F_HOMEADDRESS),
    (lambda a: a.mngtmpaddr, IFA_F_MANAGETEMPADDR),
    (lambda a: a.noprefixroute, IFA_F_NOPREFIXROUTE),
    (lambda a: a.autojoin, IFA_F_MCAUTOJOIN),
)


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute: length, type, payload, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) & 3)


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """One netlink request; its sequence number (offset 8) is set when it is sent."""
    return _HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST | flags, 0, 0) + payload


def address_messages(spec: AddressLike, protocol: int = ADDRESS_PROTOCOL) -> AddressBytes:
    """The messages that add (or refresh) and delete `spec`, tagged as ours; patch the interface index (offset 20).

    Kernels before 5.18 don't know the tag (IFA_PROTO) and ignore it. `preferred_lft_s` 0 makes the address deprecated:
    it is answered for, but never chosen as a source.
    """
    family = socket.AF_INET if len(spec.address) == 4 else socket.AF_INET6
    flags = sum(bit for asked, bit in _FLAG_BITS if asked(spec))
    where = attribute(_IFA_LOCAL, spec.address) + attribute(_IFA_ADDRESS, spec.peer or spec.address)
    options = b""
    if spec.broadcast is not None:
        options += attribute(_IFA_BROADCAST, spec.broadcast)
    if spec.label is not None:
        options += attribute(_IFA_LABEL, spec.label.encode() + b"\0")
    if flags:
        options += attribute(_IFA_FLAGS, _U32.pack(flags))
    if spec.preferred_lft_s is not None:
        options += attribute(_IFA_CACHEINFO, struct.pack("=IIII", spec.preferred_lft_s, _FOREVER, 0, 0))
    if protocol:
        options += attribute(_IFA_PROTO, bytes((protocol,)))
    head = _IFADDRMSG.pack(family, spec.prefix_length, flags & 0xFF, spec.scope, 0)
    return AddressBytes(
        add=message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, head + where + options),
        delete=message(RTM_DELADDR, 0, head + where),
    )


def delete_message(seen: AddressSeen) -> bytes:
    """The message that deletes an address the kernel has shown us, on the interface it is on."""
    family = socket.AF_INET if len(seen.address) == 4 else socket.AF_INET6
    head = _IFADDRMSG.pack(family, seen.prefix_length, 0, seen.scope, seen.index)
    return message(RTM_DELADDR, 0, head + attribute(_IFA_LOCAL, seen.address))


def patch_ifindex(ready: bytes, ifindex: int) -> bytes:
    """`ready` for the interface `ifindex` (link and address messages keep the index at offset 20)."""
    return ready[:20] + _U32.pack(ifindex) + ready[24:]


def attributes(octets: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each attribute in `octets[start:end]`; a broken one ends the row."""
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(octets, start)
        if length < 4 or start + length > end:
            return
        yield kind & 0x3FFF, octets[start + 4 : start + length]
        start += (length + 3) & ~3


def _decode_link(octets: bytes, start: int, end: int, gone: bool) -> LinkSeen | LinkGone | None:
    family, _, index, flags, _ = _IFINFOMSG.unpack_from(octets, start)
    if family != socket.AF_UNSPEC:
        return None  # a bridge port's own message: says nothing of the interface
    name, mac, mtu, kind, alias, table = "", b"", 0, "", "", 0
    numbers = {_IFLA_LINK: 0, _IFLA_MASTER: 0, _IFLA_GROUP: 0}
    for number, payload in attributes(octets, start + 16, end):
        if number == _IFLA_IFNAME:
            name = payload.rstrip(b"\0").decode(errors="replace")
        elif number == _IFLA_ADDRESS:
            mac = payload
        elif number == _IFLA_MTU:
            mtu = _U32.unpack(payload)[0]
        elif number in numbers and len(payload) == 4:
            numbers[number] = _U32.unpack(payload)[0]
        elif number == _IFLA_ALIAS:
            alias = payload.rstrip(b"\0").decode(errors="replace")
        elif number == _IFLA_LINKINFO:
            for inner, value in attributes(payload, 0, len(payload)):
                if inner == _IFLA_INFO_KIND:
                    kind = value.rstrip(b"\0").decode(errors="replace")
                elif inner == _IFLA_INFO_DATA and kind == "vrf":
                    table = _vrf_table(value)
    if gone:
        return LinkGone(index=index, name=name)
    up, running = bool(flags & IFF_UP), bool(flags & IFF_RUNNING)
    return LinkSeen(
        index=index,
        name=name,
        up=up,
        running=running,
        mac=mac,
        mtu=mtu,
        kind=kind,
        flags=flags,
        below=numbers[_IFLA_LINK],
        master=numbers[_IFLA_MASTER],
        group=numbers[_IFLA_GROUP],
        alias=alias,
        table=table,
    )


def _vrf_table(details: bytes) -> int:
    """The routing table in the details of a VRF."""
    for number, payload in attributes(details, 0, len(details)):
        if number == _IFLA_VRF_TABLE and len(payload) == 4:
            return int(_U32.unpack(payload)[0])
    return 0


def _decode_address(octets: bytes, start: int, end: int, gone: bool) -> AddressSeen | AddressGone | None:
    family, prefix_length, flags, scope, index = _IFADDRMSG.unpack_from(octets, start)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    local = remote = label = b""
    protocol = 0
    for number, payload in attributes(octets, start + 8, end):
        if number == _IFA_LOCAL:
            local = payload
        elif number == _IFA_ADDRESS:
            remote = payload
        elif number == _IFA_FLAGS:
            flags = _U32.unpack(payload)[0]
        elif number == _IFA_LABEL:
            label = payload.rstrip(b"\0")
        elif number == _IFA_PROTO:
            protocol = payload[0]
    address = Address(local or remote)
    if gone:
        return AddressGone(index=index, address=address, prefix_length=prefix_length)
    return AddressSeen(
        index=index,
        address=address,
        prefix_length=prefix_length,
        scope=scope,
        flags=flags,
        protocol=protocol,
        label=label.decode(errors="replace"),
    )


def decode(octets: bytes, own_port: int = 0) -> list[Notification]:
    """What the link and address messages in `octets` say, in order; other messages are passed over.

    Addresses that the socket with the netlink port `own_port` added are passed over too: whoever added them knows.
    """
    seen: list[Notification] = []
    start, size = 0, len(octets)
    while start + 16 <= size:
        length, kind, _, _, port = _HEADER.unpack_from(octets, start)
        end = start + length
        if length < 16 or end > size:
            break
        if kind == RTM_NEWADDR and port == own_port and own_port:
            start += (length + 3) & ~3
            continue
        said: Notification | None = None
        if kind in (RTM_NEWLINK, RTM_DELLINK) and length >= 32:
            said = _decode_link(octets, start + 16, end, kind == RTM_DELLINK)
        elif kind in (RTM_NEWADDR, RTM_DELADDR) and length >= 24:
            said = _decode_address(octets, start + 16, end, kind == RTM_DELADDR)
        if said is not None:
            seen.append(said)
        start += (length + 3) & ~3
    return seen


def open_netlink(protocol: int, what: str, receive_bytes: int = 0, forced: bool = True) -> socket.socket:
    """A netlink socket of `protocol` with large buffers; KernelRefused when there is none.

    `receive_bytes` is an operator's wish for the receive buffer; `forced` goes beyond net.core.rmem_max.
    """
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        opened.bind((0, 0))
    except OSError as refused:
        raise KernelRefused("open a netlink socket", what, refused.errno or 0) from None
    for beyond, usual, wanted in (
        (_SO_RCVBUFFORCE if forced else socket.SO_RCVBUF, socket.SO_RCVBUF, receive_bytes or _BUFFER_BYTES),
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF, _BUFFER_BYTES),
    ):
        try:
            opened.setsockopt(socket.SOL_SOCKET, beyond, wanted)
        except OSError:  # no CAP_NET_ADMIN: as much as net.core.rmem_max allows
            opened.setsockopt(socket.SOL_SOCKET, usual, wanted)
    # the kernel answers at once; should it ever not, an error is better than a daemon that waits for ever
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 2, 0))
    return opened


NOTHING = message(NLMSG_NOOP, 0, b"")
"""Asks for nothing; is acknowledged all the same."""


class RequestSocket:
    """Asks netlink of one protocol; every call returns when the kernel has answered, which is at once."""

    def __init__(self, protocol: int, name: str, purpose: str, receive_bytes: int = 0, forced: bool = True) -> None:
        """`name` and `purpose` ("change addresses") are for the words of a refusal."""
        self._socket = open_netlink(protocol, name, receive_bytes, forced)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._purpose = purpose
        self._sequence = 0
        self._answer = bytearray(_READ_BYTES)
        held = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._most_messages = max(held // _ACK_BYTES, 1)

    def fileno(self) -> int:
        """The file descriptor."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The netlink port: notifications of what this socket did carry it."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def request_batch(self, messages: Sequence[bytes]) -> list[int]:
        """Send `messages` in order; an errno for each, 0 where it was done. KernelRefused if netlink fails."""
        outcomes = [0] * len(messages)
        start = 0
        while start < len(messages):
            end, size = start, 0
            while end < len(messages) and end - start < self._most_messages:
                size += (len(messages[end]) + 3) & ~3
                if size > _PIECE_BYTES and end > start:
                    break
                end += 1
            self._request_piece(messages[start:end], start, outcomes)
            start = end
        return outcomes

    def _request_piece(self, piece: Sequence[bytes], offset: int, outcomes: list[int]) -> None:
        """Send one datagram of messages and note the errors in `outcomes[offset:]`."""
        buffer = bytearray()
        first = self._sequence + 1
        for number, ready in enumerate(piece, first):
            place = len(buffer)
            buffer += ready
            buffer += bytes(-len(ready) & 3)
            _U32.pack_into(buffer, place + 8, number & _FOREVER)
        _U16.pack_into(buffer, place + 6, _U16.unpack_from(buffer, place + 6)[0] | NLM_F_ACK)
        answer = self._answer
        last = self._sequence = first + len(piece) - 1
        try:
            self._socket.send(buffer)
            while True:
                size, start = self._socket.recv_into(answer), 0
                while start + 20 <= size:
                    length, kind, _, sequence, _ = _HEADER.unpack_from(answer, start)
                    if kind == NLMSG_ERROR and first <= sequence <= last:
                        outcomes[offset + sequence - first] = -struct.unpack_from("=i", answer, start + 16)[0]
                        if sequence == last:
                            return
                    start += max((length + 3) & ~3, 16)
        except OSError as refused:
            raise KernelRefused(self._purpose, "netlink", refused.errno or 0) from None

    def answers(self, request: bytes, purpose: str) -> list[bytes]:
        """What the kernel sends in answer to a dump, or to a request with NLM_F_ACK, up to the end of it.

        A dump is asked for again when the kernel says that things changed underway. KernelRefused for an error.
        """
        for _ in range(8):
            self._sequence += 1
            sequence = self._sequence
            self._socket.send(request[:8] + _U32.pack(sequence & _FOREVER) + request[12:])
            seen: list[bytes] = []
            interrupted = done = False
            while not done:
                answer = self._socket.recv(_READ_BYTES)
                start = 0
                while start + 16 <= len(answer):
                    length, kind, flags, number, _ = _HEADER.unpack_from(answer, start)
                    if number == sequence & _FOREVER:
                        interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                        if kind == NLMSG_ERROR:
                            refused = -struct.unpack_from("=i", answer, start + 16)[0]
                            if refused:
                                raise KernelRefused(purpose, "netlink", refused)
                        done = done or kind in (NLMSG_DONE, NLMSG_ERROR)
                    start += max((length + 3) & ~3, 16)
                seen.append(answer)
            if not interrupted:
                break
        return seen  # after eight changes underway: the last, which notifications will correct


class NetlinkSocket(RequestSocket):
    """Asks routing netlink."""

    def __init__(self, receive_bytes: int = 0, forced: bool = True) -> None:
        super().__init__(socket.NETLINK_ROUTE, "NETLINK_ROUTE", "change addresses", receive_bytes, forced)

    def knock(self) -> None:
        """Ask for nothing and have it acknowledged: the next request finds the way warm."""
        self.request_batch([NOTHING])

    def _dump(self, request: bytes) -> list[Notification]:
        return [seen for answer in self.answers(request, "list interfaces and addresses") for seen in decode(answer)]

    def dump_links(self) -> list[LinkSeen]:
        """Every interface of this network namespace."""
        skip_statistics = attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
        request = message(RTM_GETLINK, NLM_F_DUMP, _IFINFOMSG.pack(0, 0, 0, 0, 0) + skip_statistics)
        return [seen for seen in self._dump(request) if isinstance(seen, LinkSeen)]

    def dump_addresses(self, family: int = 0) -> list[AddressSeen]:
        """Every address of every interface of this network namespace, of one family (AF_INET, AF_INET6) or both."""
        request = message(RTM_GETADDR, NLM_F_DUMP, _IFADDRMSG.pack(family, 0, 0, 0, 0))
        return [seen for seen in self._dump(request) if isinstance(seen, AddressSeen)]


class MonitorSocket:
    """Hears of every change to links and addresses of this network namespace. Open it, then dump: nothing is missed."""

    def __init__(self, own: NetlinkSocket | None = None, receive_bytes: int = 0, forced: bool = True) -> None:
        """Addresses added through `own` are not told of."""
        self._own_port = own.port if own is not None else 0
        self._socket = open_netlink(socket.NETLINK_ROUTE, "NETLINK_ROUTE", receive_bytes, forced)
        self._socket.setblocking(False)
        for group in (RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR):
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """What to wait on for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def read(self) -> list[Notification]:
        """What changed since the last read; never waits. Just an Overrun when the kernel could not keep it all."""
        seen: list[Notification] = []
        overrun = False
        while True:
            try:
                octets = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return [Overrun()] if overrun else seen
            except OSError as failed:
                if failed.errno != errno_numbers.ENOBUFS:
                    raise KernelRefused("hear of interface changes", "netlink", failed.errno or 0) from None
                overrun = True  # go on and empty the queue, which is of no use now
                continue
            if not overrun:
                seen += decode(octets, self._own_port)
