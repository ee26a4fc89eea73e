"""Every VRRP, CARP and BFD frame of one interface, whoever it is for, without sending anything.

A packet socket with all-multicast: unlike joining a group it tells nobody (no IGMP, no MLD). A classic BPF filter drops
everything else inside the kernel. Sources: packet(7), socket(7), Documentation/networking/filter.rst of the kernel.
"""

import array
import errno as errno_numbers
import socket
import struct
import time
from collections.abc import Sequence

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.kernel.errors import KernelRefused

ETH_P_ALL = 0x0003  # with it, and with nothing narrower, what this host sends is seen too
MOST_AT_ONCE = 256
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXDATA, _IGNORE_OUTGOING = 263, 1, 6, 8, 23
_AUXILIARY = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, lengths, offsets, VLAN tag, VLAN ethertype
_VLAN_VALID, _VLAN_TPID_VALID, _VLAN = 0x10, 0x40, 0x8100
_MR_ALLMULTI = 2
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_BUFFER_BYTES = 4 << 20
_CONTROL_BYTES = 128
_FRAME_BYTES = 2048
LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101

# struct sock_filter: code, jump if true, jump if false, operand
_LOAD_HALF, _LOAD_BYTE, _LOAD_HALF_AT_X, _LOAD_HEADER_X = 0x28, 0x30, 0x48, 0xB1
_EQUALS, _RETURN = 0x15, 0x06
_ACCEPT, _DROP = (_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0)
_FILTER: Sequence[tuple[int, int, int, int]] = (
    (_LOAD_HALF, 0, 0, 12),  # 0: ethertype
    (_EQUALS, 0, 7, 0x0800),  # 1: IPv4, else to 9
    (_LOAD_BYTE, 0, 0, 23),
    (_EQUALS, 13, 0, 112),  # 3: VRRP, CARP: accept (17)
    (_EQUALS, 12, 0, 51),  # 4: AH
    (_EQUALS, 0, 12, 17),  # 5: UDP, else drop (18)
    (_LOAD_HEADER_X, 0, 0, 14),  # X = 4 * header length in words
    (_LOAD_HALF_AT_X, 0, 0, 14 + 2),  # 7: destination port
    (_EQUALS, 8, 7, 3784),  # 8: accept (17), else to 16
    (_EQUALS, 7, 0, 0x8100),  # 9: a tag that is still in the frame: accept
    (_EQUALS, 0, 7, 0x86DD),  # 10: IPv6, else drop
    (_LOAD_BYTE, 0, 0, 20),
    (_EQUALS, 4, 0, 112),  # 12: accept
    (_EQUALS, 0, 4, 17),  # 13: UDP, else drop
    (_LOAD_HALF, 0, 0, 14 + 40 + 2),
    (_EQUALS, 1, 0, 3784),  # 15: accept
    (_EQUALS, 0, 1, 4784),  # 16: accept, else drop
    _ACCEPT,  # 17
    _DROP,  # 18
)


class PacketListener:
    """What one interface hears and sends of VRRP, CARP and BFD. KernelRefused without CAP_NET_RAW or interface."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except OSError as refused:
            raise KernelRefused("open a packet socket", "", refused.errno or 0, _RAW_CURE) from None
        try:
            self._prepare(interface)
        except OSError as refused:
            self._socket.close()
            if refused.errno is None or refused.errno == errno_numbers.ENODEV:  # if_nametoindex gives no number
                names = ", ".join(name for _, name in socket.if_nameindex())
                raise KernelRefused("listen", interface, errno_numbers.ENODEV, f"there are {names}") from None
            raise KernelRefused("listen", interface, refused.errno) from None

    def _prepare(self, interface: str) -> None:
        index = socket.if_nametoindex(interface)
        self._socket.setblocking(False)
        for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
                break
            except PermissionError:
                continue
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        membership = struct.pack("=iHH8s", index, _MR_ALLMULTI, 0, b"")
        self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
        self._socket.bind((interface, 0))  # protocol 0: nothing arrives before the filter is there
        hardware = self._socket.getsockname()[3]
        ethernet = hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK)
        self.link_type = LINKTYPE_ETHERNET if ethernet else LINKTYPE_RAW
        if ethernet:
            program = array.array("B", b"".join(struct.pack("=HBBI", *one) for one in _FILTER))
            place, _ = program.buffer_info()
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_FILTER), place))
        if hardware == _ARPHRD_LOOPBACK:  # there, each frame comes by twice
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self._socket.bind((interface, ETH_P_ALL))

    def fileno(self) -> int:
        """The file descriptor, readable when something was heard."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def receive(self) -> list[tuple[Nanoseconds, bytes]]:
        """What has arrived, MOST_AT_ONCE at most: (time by CLOCK_REALTIME, frame from its link-layer header on).

        KernelRefused when the interface is gone; while it is down, nothing arrives.
        """
        heard: list[tuple[Nanoseconds, bytes]] = []
        while len(heard) < MOST_AT_ONCE:
            try:
                octets, ancillary, _, _ = self._socket.recvmsg(_FRAME_BYTES, _CONTROL_BYTES)
            except BlockingIOError:
                break
            except OSError as refused:
                if refused.errno != errno_numbers.ENETDOWN or not self._is_there():
                    raise KernelRefused("listen", self.interface, errno_numbers.ENODEV) from None
                break
            time_ns, tag = _stamp_and_tag(ancillary)
            heard.append((time_ns, octets[:12] + tag + octets[12:] if tag else octets))
        return heard

    def lost(self) -> int:
        """How many frames the kernel had no room for since the last question."""
        packets_and_drops = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        return int(struct.unpack("=II", packets_and_drops)[1])

    def _is_there(self) -> bool:
        try:
            socket.if_nametoindex(self.interface)
        except OSError:
            return False
        return True


_RAW_CURE = "grant CAP_NET_RAW (run as root)"


def _stamp_and_tag(ancillary: list[tuple[int, int, bytes]]) -> tuple[Nanoseconds, bytes]:
    """The kernel's time, and the VLAN tag that it took out of the frame."""
    time_ns, tag = 0, b""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            whole, rest = struct.unpack("=qq", value)
            time_ns = whole * SECOND + rest
        elif level == _SOL_PACKET and kind == _AUXDATA and len(value) >= _AUXILIARY.size:
            status, _, _, _, _, tci, tpid = _AUXILIARY.unpack_from(value)
            if status & _VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & _VLAN_TPID_VALID else _VLAN, tci)
    return time_ns or time.time_ns(), tag
