"""`no_accept` by nftables: traffic to and from the virtual addresses is dropped, neighbour discovery excepted.

The table (families ip and ip6) holds base chains `in` and `out` and a set `vips`; an address is dropped for as long as
it is in the set. IPv6 link-local addresses stand in `vips_link_local` with their interface: the same one may be in use,
and welcome, on another. The messages of an address are made when the configuration is loaded; no `nft` program is
needed. The table carries the comment "holdfast": one that a dead run left is replaced, anybody else's is refused.

Sources: linux/netfilter/nf_tables.h, nfnetlink.h; nft(8), `nft --debug=netlink` for the expressions.
"""

import errno as errno_numbers
import socket
import struct
from collections.abc import Iterable, Sequence

from holdfast.base.address import Address, is_link_local
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NLMSG_ERROR, attribute, open_netlink

_NETLINK_NETFILTER = 12
_NFTABLES = 10  # the subsystem
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET = 0, 1, 2, 3, 6, 9
_NEWSETELEM, _DELSETELEM = 12, 14
_NLM_F_APPEND = 0x800
_NESTED = 0x8000
_LOCAL_IN, _LOCAL_OUT = 1, 3
_DROP, _ACCEPT = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_INTERFACE_IN, _META_INTERFACE_OUT, _META_L4PROTO = 4, 5, 16
_EQUAL, _AT_MOST, _AT_LEAST = 0, 3, 5
_TYPE_IPV4, _TYPE_IPV6 = 7, 8  # what nft calls ipv4_addr and ipv6_addr
_TYPE_INTERFACE = 20  # iface_index
_TYPE_IPV6_AND_INTERFACE = _TYPE_IPV6 << 6 | 20  # ipv6_addr . iface_index
_NEIGHBOUR_SOLICIT, _NEIGHBOUR_ADVERT = 135, 136
_MLD_REPORT, _ROUTER_SOLICIT, _MLD2_REPORT = 131, 133, 143  # what is between them are MLD's done and solicitations
_COMMENT = b"holdfast\0"
_USERDATA = bytes((0, len(_COMMENT))) + _COMMENT  # nft's own form: type 0 comment, length, text
_HEADER = struct.Struct("=IHHII")

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))


def _word(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


def _request(kind: int, flags: int, family: int, payload: bytes, subsystem: int = _NFTABLES) -> bytes:
    """One nf_tables request; its sequence number is set when it is sent."""
    body = struct.pack("!BBH", family, 0, 0) + payload
    return _HEADER.pack(16 + len(body), subsystem << 8 | kind, NLM_F_REQUEST | flags, 0, 0) + body


def _boundary(kind: int, sequence: int) -> bytes:
    return _HEADER.pack(20, kind, NLM_F_REQUEST, sequence, 0) + struct.pack("!BBH", 0, 0, _NFTABLES)


# ---- expressions ---------------------------------------------------------------------------------------------------


def _expression(name: str, *parts: bytes) -> bytes:
    return _nest(1, _word(1, name), _nest(2, *parts))


def _load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, length))


def _compare(operation: int, octet: int) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, operation), _nest(3, attribute(1, bytes((octet,)))))


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, 0), _nest(2, _nest(2, _number(1, code))))


class Firewall:
    """One nf_tables table in each family; KernelRefused where nothing can be done."""

    def __init__(self, table: str = "holdfast", priority: int = -1, counters: bool = False) -> None:
        self.table = table
        self._priority = priority
        self._counters = counters
        self._socket = open_netlink(_NETLINK_NETFILTER, "NETLINK_NETFILTER")
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back; the table stays."""
        self._socket.close()

    def setup(self, addresses: Iterable[tuple[Address, int]] = ()) -> None:
        """Make the table, in place of one that a dead run of ours left. Each (address, interface index) is dropped."""
        messages: list[bytes] = []
        for family in _FAMILIES:
            if self._present(family):
                messages.append(self._delete_table(family))
            messages += self._make_table(family)
        messages += [self.element_messages(address, index)[0] for address, index in addresses]
        self._demand("make the firewall table", messages)

    def teardown(self) -> None:
        """Delete the table where it is ours; nothing to do is well."""
        messages = [self._delete_table(family) for family in _FAMILIES if self._present(family, strangers=True)]
        if messages:
            self._demand("delete the firewall table", messages)

    def element_messages(self, address: Address, ifindex: int) -> tuple[bytes, bytes]:
        """The messages that begin and end dropping the traffic of `address`, for `request_batch`.

        The interface matters to IPv6 link-local addresses alone.
        """
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        name, key = "vips", bytes(address)
        if is_link_local(address):
            name, key = "vips_link_local", address + struct.pack("=I", ifindex)
        payload = _word(1, self.table) + _word(2, name) + _nest(3, _nest(1, _nest(1, attribute(1, key))))
        return _request(_NEWSETELEM, NLM_F_CREATE, family, payload), _request(_DELSETELEM, 0, family, payload)

    def request_batch(self, messages: Sequence[bytes]) -> list[int]:
        """Do all `messages` in one transaction; an errno for each, 0 where it was done.

        nf_tables does all of a transaction or nothing: when one fails, each is tried by itself.
        """
        if not messages:
            return []
        outcomes = self._transaction(messages)
        if any(outcomes) and len(messages) > 1:
            outcomes = [self._transaction([message])[0] for message in messages]
        return outcomes

    # ---- what is sent ------------------------------------------------------------------------------------------

    def _delete_table(self, family: int) -> bytes:
        return _request(_DELTABLE, 0, family, _word(1, self.table))

    def _make_table(self, family: int) -> list[bytes]:
        ipv4 = family == socket.AF_INET
        made = [_request(_NEWTABLE, NLM_F_CREATE, family, _word(1, self.table) + attribute(6, _USERDATA))]
        if ipv4:
            made.append(self._set(family, "vips", 1, _TYPE_IPV4, 4))
        else:
            made.append(self._set(family, "vips", 1, _TYPE_IPV6, 16))
            made.append(self._set(family, "vips_link_local", 2, _TYPE_IPV6_AND_INTERFACE, 20))
        source_at, destination_at, size = (12, 16, 4) if ipv4 else (8, 24, 16)
        for name, hook, offset, interface in (
            ("in", _LOCAL_IN, destination_at, _META_INTERFACE_IN),
            ("out", _LOCAL_OUT, source_at, _META_INTERFACE_OUT),
        ):
            hooked = _nest(4, _number(1, hook), _number(2, self._priority))
            chain = _word(1, self.table) + _word(3, name) + hooked + _number(5, _ACCEPT) + _word(7, "filter")
            made.append(_request(_NEWCHAIN, NLM_F_CREATE, family, chain))
            address = _load(_NETWORK_HEADER, offset, size)
            if not ipv4:
                made.append(self._rule(family, name, self._neighbour_discovery()))
                through = _expression("meta", _number(1, 2), _number(2, interface))
                made.append(self._rule(family, name, [address, through, *self._drop_members("vips_link_local", 2)]))
            made.append(self._rule(family, name, [address, *self._drop_members("vips", 1)]))
        return made

    def _set(self, family: int, name: str, number: int, key_type: int, key_bytes: int) -> bytes:
        payload = _word(1, self.table) + _word(2, name) + _number(3, 0) + _number(4, key_type) + _number(5, key_bytes)
        byte_order = bytes((0, 4)) + struct.pack("=I", 2)  # nft's note to itself: keys are big-endian
        return _request(_NEWSET, NLM_F_CREATE, family, payload + _number(10, number) + attribute(13, byte_order))

    def _drop_members(self, name: str, number: int) -> list[bytes]:
        """Drop what the registers hold if it is in the set `name`, made with this number in the same transaction."""
        counter = [_expression("counter")] if self._counters else []
        return [_expression("lookup", _word(1, name), _number(2, 1), _number(4, number)), *counter, _verdict(_DROP)]

    @staticmethod
    def _neighbour_discovery() -> list[bytes]:
        """Solicitations and advertisements pass: neighbours must go on finding the addresses."""
        return [
            _expression("meta", _number(1, 1), _number(2, _META_L4PROTO)),
            _compare(_EQUAL, socket.IPPROTO_ICMPV6),
            _load(_TRANSPORT_HEADER, 0, 1),
            _compare(_AT_LEAST, _NEIGHBOUR_SOLICIT),
            _compare(_AT_MOST, _NEIGHBOUR_ADVERT),
            _verdict(_ACCEPT),
        ]

    def _rule(self, family: int, chain: str, expressions: list[bytes]) -> bytes:
        payload = _word(1, self.table) + _word(2, chain) + _nest(4, *expressions)
        return _request(_NEWRULE, NLM_F_CREATE | _NLM_F_APPEND, family, payload)

    # ---- talking -----------------------------------------------------------------------------------------------

    def _present(self, family: int, strangers: bool = False) -> bool:
        """Whether our table is there; KernelRefused when it is somebody else's (`strangers`: then it is not ours)."""
        self._sequence += 1
        asking = bytearray(_request(_GETTABLE, NLM_F_ACK, family, _word(1, self.table)))
        struct.pack_into("=I", asking, 8, self._sequence)
        found = ours = False
        for kind, errno, body in self._answers(bytes(asking), self._sequence):
            if kind == NLMSG_ERROR and errno not in (0, errno_numbers.ENOENT):
                raise KernelRefused("look for the firewall table", self.table, errno)
            if kind == _NFTABLES << 8 | _NEWTABLE:
                found, ours = True, _USERDATA in body
        if found and not ours and not strangers:
            cure = f"delete it (nft delete table {self.table}), or name another with `nftables NAME`"
            raise KernelRefused("make the firewall table", self.table, errno_numbers.EEXIST, cure)
        return found and ours

    def _demand(self, operation: str, messages: list[bytes]) -> None:
        for errno in self._transaction(messages):
            if errno:
                cure = "load nf_tables (modprobe nf_tables)" if errno == errno_numbers.EOPNOTSUPP else ""
                raise KernelRefused(operation, self.table, errno, cure)

    def _transaction(self, messages: Sequence[bytes]) -> list[int]:
        """Send one transaction; the errno of each message (all undone when one is not 0)."""
        first = self._sequence + 2
        last = first + len(messages) - 1
        self._sequence = last + 1
        buffer = bytearray(_boundary(_BATCH_BEGIN, first - 1))
        for sequence, ready in enumerate(messages, first):
            place = len(buffer)
            buffer += ready
            struct.pack_into("=I", buffer, place + 8, sequence)
        flags = struct.unpack_from("=H", buffer, place + 6)[0] | NLM_F_ACK  # the last only: errors are told anyway
        struct.pack_into("=H", buffer, place + 6, flags)
        buffer += _boundary(_BATCH_END, last + 1)
        outcomes = [0] * len(messages)
        for _, errno, body in self._answers(bytes(buffer), last, first - 1):
            sequence = struct.unpack_from("=I", body, 8)[0]
            if first <= sequence <= last:
                outcomes[sequence - first] = errno
            elif errno:
                raise KernelRefused("change the firewall table", self.table, errno)
        return outcomes

    def _answers(self, octets: bytes, last: int, begin: int = -1) -> list[tuple[int, int, bytes]]:
        """Send, and read up to the answer to `last` or a refusal of `begin`: (type, errno, message) each."""
        answers: list[tuple[int, int, bytes]] = []
        try:
            self._socket.send(octets)
            while True:
                answer, start = self._socket.recv(65536), 0
                while start + 16 <= len(answer):
                    length, kind, _, sequence, _ = _HEADER.unpack_from(answer, start)
                    body = answer[start : start + length]
                    errno = -struct.unpack_from("=i", body, 16)[0] if kind == NLMSG_ERROR else 0
                    answers.append((kind, errno, body))
                    if kind == NLMSG_ERROR and (sequence == last or (sequence == begin and errno)):
                        return answers
                    start += max((length + 3) & ~3, 16)
        except OSError as refused:
            cure = "load nf_tables (modprobe nf_tables)" if refused.errno == errno_numbers.EAGAIN else ""
            raise KernelRefused("reach nf_tables", self.table, refused.errno or 0, cure) from None


class ReportFilter(Firewall):
    """Keeps group reports in: IGMP, MLD and router solicitations don't leave through the interfaces in `vmac_set`.

    A switch learns where a MAC is from what leaves with it: a backup that reported its groups with the virtual MAC
    would draw the master's traffic. The interface below joins the groups instead.
    """

    def element_messages_for(self, ifindex: int) -> list[tuple[bytes, bytes]]:
        """The messages that begin and end keeping an interface's reports in, for each family."""
        key = _nest(3, _nest(1, _nest(1, attribute(1, struct.pack("=I", ifindex)))))
        payload = _word(1, self.table) + _word(2, "vmac_set") + key
        return [
            (_request(_NEWSETELEM, NLM_F_CREATE, family, payload), _request(_DELSETELEM, 0, family, payload))
            for family in _FAMILIES
        ]

    def _make_table(self, family: int) -> list[bytes]:
        hooked = _nest(4, _number(1, _LOCAL_OUT), _number(2, self._priority))
        chain = _word(1, self.table) + _word(3, "out") + hooked + _number(5, _ACCEPT) + _word(7, "filter")
        out = [
            _expression("meta", _number(1, 1), _number(2, _META_INTERFACE_OUT)),
            _expression("lookup", _word(1, "vmac_set"), _number(2, 1), _number(4, 1)),
            _expression("meta", _number(1, 1), _number(2, _META_L4PROTO)),
        ]
        counter = [_expression("counter")] if self._counters else []
        kind = _load(_TRANSPORT_HEADER, 0, 1)
        if family == socket.AF_INET:
            dropped = [[_compare(_EQUAL, socket.IPPROTO_IGMP)]]
        else:
            icmp = [_compare(_EQUAL, socket.IPPROTO_ICMPV6), kind]
            dropped = [
                [*icmp, _compare(_AT_LEAST, _MLD_REPORT), _compare(_AT_MOST, _ROUTER_SOLICIT)],
                [*icmp, _compare(_EQUAL, _MLD2_REPORT)],
            ]
        rules = [self._rule(family, "out", [*out, *which, *counter, _verdict(_DROP)]) for which in dropped]
        return [
            _request(_NEWTABLE, NLM_F_CREATE, family, _word(1, self.table) + attribute(6, _USERDATA)),
            self._set(family, "vmac_set", 1, _TYPE_INTERFACE, 4),
            _request(_NEWCHAIN, NLM_F_CREATE, family, chain),
            *rules,
        ]
