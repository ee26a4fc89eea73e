"""The kernel's virtual servers by generic netlink: read, change many at once, timeouts, connection synchronisation.

Changes are sent as many messages a datagram, each with its errno afterwards (`RequestSocket`): a real server more or
less costs two system calls, two thousand cost some ten. The kernel carries out a datagram in order.

Sources: linux/ip_vs.h, netlink(7), ipvsadm(8).
"""

import errno as errno_numbers
import struct
from collections.abc import Iterable, Iterator, Sequence

from holdfast.base.address import Address
from holdfast.base.ipvs import (
    INET,
    INET6,
    SETTABLE,
    Action,
    Counts,
    Destination,
    DestinationKey,
    Destinations,
    Forwarding,
    Operation,
    Pool,
    Service,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Timeouts,
)
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import NLM_F_ACK, NLM_F_DUMP, NOTHING, RequestSocket, attribute, attributes, message

FAMILY = b"IPVS\0"
"""Its name among the families of generic netlink."""

_NETLINK_GENERIC = 16
_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_GENL_HEADER = struct.Struct("=BBxx")  # command, version
_NESTED = 0x8000

_GET_SERVICE, _GET_DESTINATION, _NEW_DAEMON, _DEL_DAEMON, _GET_DAEMON = 4, 8, 9, 10, 11
_SET_CONFIG, _GET_CONFIG, _GET_INFO, _FLUSH = 12, 13, 15, 17
_SERVICE, _DESTINATION, _DAEMON, _TCP, _TCP_FIN, _UDP = 1, 2, 3, 4, 5, 6
(
    _S_FAMILY, _S_PROTOCOL, _S_ADDRESS, _S_PORT, _S_FWMARK, _S_SCHEDULER, _S_FLAGS, _S_TIMEOUT, _S_NETMASK,
    _S_COUNTS32, _S_ENGINE, _S_COUNTS,
) = range(1, 13)  # fmt: skip
(
    _D_ADDRESS, _D_PORT, _D_METHOD, _D_WEIGHT, _D_UPPER, _D_LOWER, _D_ACTIVE, _D_INACTIVE, _D_PERSISTENT,
    _D_COUNTS32, _D_FAMILY, _D_COUNTS, _D_TUNNEL_TYPE, _D_TUNNEL_PORT, _D_TUNNEL_FLAGS,
) = range(1, 16)  # fmt: skip
_METHOD_MASK = 0x7

_U16, _U32, _U64, _PORT = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=Q"), struct.Struct("!H")
_MASK = struct.Struct("!I")

_NO_IPVS = (
    "load it: modprobe ip_vs; a container needs it loaded on its host, and a kernel built without it "
    "(CONFIG_IP_VS) cannot balance this way; or say lvs_backend nftables in global_defs (NAT only)"
)
_CURES = {
    errno_numbers.EPERM: "grant CAP_NET_ADMIN (run as root, or AmbientCapabilities= in the unit)",
    errno_numbers.EEXIST: "it is there already, made by somebody else: look at ipvsadm -Ln",
    errno_numbers.ESRCH: "the virtual server is gone, removed by somebody else: look at ipvsadm -Ln",
    errno_numbers.ENOENT: "it is gone, removed by somebody else: look at ipvsadm -Ln",
    errno_numbers.ERANGE: "lthreshold may not exceed uthreshold, nor the weight 2147483647",
    errno_numbers.EAFNOSUPPORT: "this kernel's IPVS has no IPv6: correct the address, or boot a kernel with it",
}
_SERVICE_CURES = {
    errno_numbers.ENOENT: "load the scheduler's module: modprobe ip_vs_{service.scheduler}",
    errno_numbers.EINVAL: "the kernel finds it senseless: check address, persistence_granularity and scheduler",
}
_DESTINATION_CURES = {
    errno_numbers.EINVAL: "check the address: it must be some host's own; one of the other family needs "
    "lvs_method TUN, and works only without lvs_sync_daemon",
}


def refusal(step: Operation, errno: int) -> KernelRefused:
    """What the kernel said to `step`, with a cure."""
    cures = _CURES
    if step.action in (Action.NEW_SERVICE, Action.SET_SERVICE):
        cures = _CURES | _SERVICE_CURES
    elif step.destination_key is not None:
        cures = _CURES | _DESTINATION_CURES
    return KernelRefused(step.text(), "", errno, cures.get(errno, "").format(service=step.service))


# -- values to octets --------------------------------------------------------------------------------------------


def _nested(kind: int, payload: bytes) -> bytes:
    return attribute(kind | _NESTED, payload)


def _key_octets(key: ServiceKey) -> bytes:
    family = attribute(_S_FAMILY, _U16.pack(key.family))
    if key.fwmark or not key.address:
        return family + attribute(_S_FWMARK, _U32.pack(key.fwmark))
    return (
        family
        + attribute(_S_PROTOCOL, _U16.pack(key.protocol))
        + attribute(_S_ADDRESS, key.address.ljust(16, b"\0"))
        + attribute(_S_PORT, _PORT.pack(key.port))
    )


def _service_octets(key: ServiceKey, service: Service) -> bytes:
    mask = (_MASK if key.family == INET else _U32).pack(service.netmask)
    octets = (
        _key_octets(key)
        + attribute(_S_SCHEDULER, service.scheduler.encode() + b"\0")
        + attribute(_S_FLAGS, _U32.pack(service.flags) + _U32.pack(SETTABLE))
        + attribute(_S_TIMEOUT, _U32.pack(service.timeout_s))
        + attribute(_S_NETMASK, mask)
    )
    if service.engine:
        octets += attribute(_S_ENGINE, service.engine.encode() + b"\0")
    return octets


def _where_octets(where: DestinationKey) -> bytes:
    return (
        attribute(_D_FAMILY, _U16.pack(INET if len(where.address) == 4 else INET6))
        + attribute(_D_ADDRESS, where.address.ljust(16, b"\0"))
        + attribute(_D_PORT, _PORT.pack(where.port))
    )


_NUMBERS = struct.Struct("=HHIHHIHHIHHI")  # four attributes of 32 bits


def _destination_octets(one: Destination) -> bytes:
    forwarding = one.forwarding
    octets = _NUMBERS.pack(
        8, _D_METHOD, forwarding.method, 8, _D_WEIGHT, one.weight, 8, _D_UPPER, one.upper_threshold,
        8, _D_LOWER, one.lower_threshold,
    )  # fmt: skip
    if forwarding.tunnel_type or forwarding.tunnel_port or forwarding.tunnel_flags:
        octets += (
            attribute(_D_TUNNEL_TYPE, bytes((forwarding.tunnel_type,)))
            + attribute(_D_TUNNEL_PORT, _PORT.pack(forwarding.tunnel_port))
            + attribute(_D_TUNNEL_FLAGS, _U16.pack(forwarding.tunnel_flags))
        )
    return octets


def _daemon_octets(role: SyncRole, daemon: SyncDaemon) -> bytes:
    octets = (
        attribute(1, _U32.pack(role))
        + attribute(2, daemon.interface.encode() + b"\0")
        + attribute(3, _U32.pack(daemon.sync_id))
    )
    if daemon.max_bytes:
        octets += attribute(4, _U16.pack(daemon.max_bytes))
    if daemon.group is not None:
        octets += attribute(5 if len(daemon.group) == 4 else 6, daemon.group)
    if daemon.port:
        octets += attribute(7, _U16.pack(daemon.port))
    if daemon.ttl:
        octets += attribute(8, bytes((daemon.ttl,)))
    return octets


# -- octets to values --------------------------------------------------------------------------------------------


def _text(octets: bytes) -> str:
    return octets.rstrip(b"\0").decode(errors="replace")


def _read_service(octets: bytes) -> tuple[ServiceKey, Service, Counts]:
    found = dict(attributes(octets, 0, len(octets)))
    family = _U16.unpack(found[_S_FAMILY])[0]
    if _S_FWMARK in found:
        key = ServiceKey(family, fwmark=_U32.unpack(found[_S_FWMARK])[0])
    else:
        key = ServiceKey(
            family,
            _U16.unpack(found[_S_PROTOCOL])[0],
            found[_S_ADDRESS][: 4 if family == INET else 16],
            _PORT.unpack(found[_S_PORT])[0],
        )
    service = Service(
        scheduler=_text(found.get(_S_SCHEDULER, b"")),
        flags=_U32.unpack_from(found[_S_FLAGS])[0] & SETTABLE,
        timeout_s=_U32.unpack(found[_S_TIMEOUT])[0],
        netmask=(_MASK if family == INET else _U32).unpack(found[_S_NETMASK])[0],
        engine=_text(found.get(_S_ENGINE, b"")),
    )
    return key, service, _read_counts(found.get(_S_COUNTS, b""), {})


def _read_counts(octets: bytes, server: dict[int, bytes]) -> Counts:
    found = {kind: _U64.unpack(value)[0] for kind, value in attributes(octets, 0, len(octets)) if 0 < kind < 6}
    now = [_U32.unpack(server[kind])[0] if kind in server else 0 for kind in (_D_ACTIVE, _D_INACTIVE, _D_PERSISTENT)]
    return Counts(
        connections=found.get(1, 0),
        packets_in=found.get(2, 0),
        packets_out=found.get(3, 0),
        bytes_in=found.get(4, 0),
        bytes_out=found.get(5, 0),
        active=now[0],
        inactive=now[1],
        persistent=now[2],
    )


_FORWARDINGS: dict[tuple[int, int, int, int], Forwarding] = {}  # equal ones share one object


def _read_destination(octets: bytes, family: int) -> tuple[DestinationKey, Destination, dict[int, bytes]]:
    found = dict(attributes(octets, 0, len(octets)))
    if _D_FAMILY in found:
        family = _U16.unpack(found[_D_FAMILY])[0]
    where = DestinationKey(found[_D_ADDRESS][: 4 if family == INET else 16], _PORT.unpack(found[_D_PORT])[0])
    how = (
        _U32.unpack(found[_D_METHOD])[0] & _METHOD_MASK,
        found.get(_D_TUNNEL_TYPE, b"\0")[0],
        _PORT.unpack(found.get(_D_TUNNEL_PORT, b"\0\0"))[0],
        _U16.unpack(found.get(_D_TUNNEL_FLAGS, b"\0\0"))[0],
    )
    forwarding = _FORWARDINGS.get(how)
    if forwarding is None:
        method, kind, port, flags = how
        forwarding = Forwarding(method=method, tunnel_type=kind, tunnel_port=port, tunnel_flags=flags)
        _FORWARDINGS[how] = forwarding
    destination = Destination(
        weight=_U32.unpack(found[_D_WEIGHT])[0],
        forwarding=forwarding,
        upper_threshold=_U32.unpack(found[_D_UPPER])[0],
        lower_threshold=_U32.unpack(found[_D_LOWER])[0],
    )
    return where, destination, found


class IpvsSocket(RequestSocket):
    """Asks the kernel's IPVS of this network namespace."""

    def __init__(self) -> None:
        """KernelRefused, with the cure, when this kernel has none."""
        super().__init__(_NETLINK_GENERIC, "NETLINK_GENERIC", "change virtual servers")
        try:
            self._family = self._look_up()
        except KernelRefused as refused:
            self.close()
            cure = _NO_IPVS if refused.errno == errno_numbers.ENOENT else ""
            raise KernelRefused("balance connections with IPVS", "", refused.errno, cure) from None

    def _look_up(self) -> int:
        body = _GENL_HEADER.pack(_CTRL_GETFAMILY, 1) + attribute(_CTRL_FAMILY_NAME, FAMILY)
        for answer in self.answers(message(_CTRL, NLM_F_ACK, body), "find IPVS"):
            for kind, value in attributes(answer, 20, _length(answer)):
                if kind == _CTRL_FAMILY_ID:
                    return int(_U16.unpack(value)[0])
        raise KernelRefused("find IPVS", "", errno_numbers.ENOENT)

    def _message(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        return message(self._family, flags, _GENL_HEADER.pack(command, 1) + payload)

    def _parts(self, request: bytes, purpose: str) -> Iterator[dict[int, bytes]]:
        """The attributes of each message of an answer."""
        for answer in self.answers(request, purpose):
            start = 0
            while start + 20 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, start)
                if kind == self._family:
                    yield dict(attributes(answer, start + 20, start + length))
                start += max((length + 3) & ~3, 16)

    def _do(self, command: int, payload: bytes, purpose: str, cure: str = "") -> None:
        # a daemon stopped before its thread ran comes to EINTR, which netlink never answers: hence the message after it
        errno, _ = self.request_batch([self._message(command, payload), NOTHING])
        if errno:
            raise KernelRefused(purpose, "", errno, cure or _CURES.get(errno, ""))

    # -- the table -----------------------------------------------------------------------------------------------

    def services(self) -> dict[ServiceKey, Service]:
        """Every virtual server of this network namespace, without its servers."""
        return {key: service for key, service, _ in self._services()}

    def _services(self) -> Iterator[tuple[ServiceKey, Service, Counts]]:
        for part in self._parts(self._message(_GET_SERVICE, flags=NLM_F_DUMP), "list virtual servers"):
            if _SERVICE in part:
                yield _read_service(part[_SERVICE])

    def destinations(self, key: ServiceKey) -> Destinations:
        """The servers of one service; nothing when there is no such service."""
        return {where: one for where, one, _ in self._destinations(key)}

    def _destinations(self, key: ServiceKey) -> Iterator[tuple[DestinationKey, Destination, dict[int, bytes]]]:
        request = self._message(_GET_DESTINATION, _nested(_SERVICE, _key_octets(key)), NLM_F_DUMP)
        for part in self._parts(request, "list real servers"):
            if _DESTINATION in part:
                yield _read_destination(part[_DESTINATION], key.family)

    def table(self, keys: Iterable[ServiceKey] | None = None) -> Table:
        """The services of `keys` that are there (all when None), with their servers."""
        there = self.services()
        wanted = there if keys is None else [key for key in keys if key in there]
        return {key: Pool(there[key], self.destinations(key)) for key in wanted}

    def apply(self, steps: Sequence[Operation]) -> list[int]:
        """Carry out `steps` in order; an errno for each, 0 where it was done."""
        return self.request_batch([self._encoded(step) for step in steps]) if steps else []

    def _encoded(self, step: Operation) -> bytes:
        if step.service is not None:
            return self._message(step.action, _nested(_SERVICE, _service_octets(step.key, step.service)))
        payload = _nested(_SERVICE, _key_octets(step.key))
        if step.destination_key is not None:
            octets = _where_octets(step.destination_key)
            if step.destination is not None:
                octets += _destination_octets(step.destination)
            payload += _nested(_DESTINATION, octets)
        return self._message(step.action, payload)

    def flush(self) -> None:
        """Remove every virtual server of this network namespace, whoever made it."""
        self._do(_FLUSH, b"", "empty the table of virtual servers")

    def forget(self) -> None:
        """IPVS keeps nothing else of ours."""

    @staticmethod
    def refusal(step: Operation, errno: int) -> KernelRefused:
        """What the kernel said to `step`, with a cure."""
        return refusal(step, errno)

    def service_counts(self) -> dict[ServiceKey, Counts]:
        """What was counted for every service; the numbers of connections now are its servers'."""
        return {key: counts for key, _, counts in self._services()}

    def server_counts(self, key: ServiceKey) -> dict[DestinationKey, Counts]:
        """What was counted for the servers of one service."""
        return {where: _read_counts(found.get(_D_COUNTS, b""), found) for where, _, found in self._destinations(key)}

    # -- what is one a namespace ---------------------------------------------------------------------------------

    def timeouts(self) -> Timeouts:
        """How long idle connections are remembered."""
        for part in self._parts(self._message(_GET_CONFIG, flags=NLM_F_ACK), "read the timeouts of IPVS"):
            tcp, fin, udp = (_U32.unpack(part[kind])[0] for kind in (_TCP, _TCP_FIN, _UDP))
            return Timeouts(tcp_s=tcp, tcp_fin_s=fin, udp_s=udp)
        raise KernelRefused("read the timeouts of IPVS", "", errno_numbers.EPROTO)

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Set them; zeros leave what is there."""
        payload = b"".join(
            attribute(kind, _U32.pack(value))
            for kind, value in ((_TCP, timeouts.tcp_s), (_TCP_FIN, timeouts.tcp_fin_s), (_UDP, timeouts.udp_s))
        )
        self._do(_SET_CONFIG, payload, "set the timeouts of IPVS")

    def daemons(self) -> dict[SyncRole, SyncDaemon]:
        """The running ends of the connection synchronisation."""
        found: dict[SyncRole, SyncDaemon] = {}
        for part in self._parts(self._message(_GET_DAEMON, flags=NLM_F_DUMP), "list the sync daemons"):
            octets = part.get(_DAEMON, b"")
            inner = dict(attributes(octets, 0, len(octets)))
            if 1 not in inner:
                continue
            group = inner.get(5) or inner.get(6)
            found[SyncRole(_U32.unpack(inner[1])[0])] = SyncDaemon(
                interface=_text(inner[2]),
                sync_id=_U32.unpack(inner[3])[0],
                max_bytes=_U16.unpack(inner[4])[0] if 4 in inner else 0,
                port=_U16.unpack(inner[7])[0] if 7 in inner else 0,
                ttl=inner[8][0] if 8 in inner else 0,
                group=None if group is None else Address(group),
            )
        return found

    def start_daemon(self, role: SyncRole, daemon: SyncDaemon) -> None:
        """Start one end; KernelRefused (EEXIST) when it runs already."""
        self._do(
            _NEW_DAEMON,
            _nested(_DAEMON, _daemon_octets(role, daemon)),
            f"start the {role.name.lower()} sync daemon on {daemon.interface}",
            "check that the interface is there and up, has a multicast route and the MTU for maxlen",
        )

    def stop_daemon(self, role: SyncRole) -> None:
        """Stop one end; KernelRefused (ESRCH) when it doesn't run."""
        payload = _nested(_DAEMON, attribute(1, _U32.pack(role)))
        self._do(_DEL_DAEMON, payload, f"stop the {role.name.lower()} sync daemon")

    def version(self) -> tuple[int, int, int]:
        """The version of the kernel's IPVS."""
        for part in self._parts(self._message(_GET_INFO, flags=NLM_F_ACK), "ask IPVS for its version"):
            number = _U32.unpack(part[1])[0]
            return number >> 16, number >> 8 & 0xFF, number & 0xFF
        raise KernelRefused("ask IPVS for its version", "", errno_numbers.EPROTO)


def _length(answer: bytes) -> int:
    return int(_U32.unpack_from(answer)[0])


