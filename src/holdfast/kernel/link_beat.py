"""Asks an interface for its link: MII registers, ethtool, or the interface's flags (ioctl_netdevice(7)).

For drivers that do not tell the kernel when their link goes. A VMAC, or an interface that is gone, has nothing to say.
"""

import ctypes
import errno as errno_numbers
import fcntl
import socket
import struct

from holdfast.kernel.errors import KernelRefused

_SIOCGIFFLAGS, _SIOCETHTOOL, _SIOCGMIIPHY, _SIOCGMIIREG = 0x8913, 0x8946, 0x8947, 0x8948
_ETHTOOL_GLINK = 0x0000000A
_MII_BMSR, _BMSR_LSTATUS, _BMSR_BROKEN = 1, 0x0004, (0x0000, 0xFFFF)
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_NAME_BYTES = 16
_REQUEST_BYTES = 40

WAYS = ("MII", "ETHTOOL", "IOCTL")


class LinkAsker:
    """Asks interfaces for their links."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def ask(self, interface: str, way: str) -> bool:
        """Whether the interface has a link; raises KernelRefused where it can't be asked like this, or is gone."""
        try:
            return {"MII": self._mii, "ETHTOOL": self._ethtool, "IOCTL": self._flags}[way](interface)
        except OSError as refused:
            errno = refused.errno or errno_numbers.EIO
            cure = "name another way after the interface in linkbeat_interfaces: MII, ETHTOOL or IOCTL"
            cure = cure if errno == errno_numbers.EOPNOTSUPP else ""
            raise KernelRefused(f"ask for the link by {way}", interface, errno, cure) from refused

    def way_for(self, interface: str) -> str:
        """The first way in which the interface answers; "" when there is none."""
        for way in WAYS:
            try:
                self.ask(interface, way)
            except KernelRefused:
                continue
            return way
        return ""

    def _request(self, code: int, interface: str, rest: bytes) -> bytes:
        asked = interface.encode()[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0") + rest
        return fcntl.ioctl(self._socket, code, asked.ljust(_REQUEST_BYTES, b"\0"))

    def _mii(self, interface: str) -> bool:
        phy = struct.unpack_from("=H", self._request(_SIOCGMIIPHY, interface, b""), _NAME_BYTES)[0]
        for _ in range(2):  # the bit stays low until it is read
            said = self._request(_SIOCGMIIREG, interface, struct.pack("=HH", phy, _MII_BMSR))
            status = struct.unpack_from("=H", said, _NAME_BYTES + 6)[0]
        if status in _BMSR_BROKEN:
            raise OSError(errno_numbers.EOPNOTSUPP, "no PHY answers")
        return bool(status & _BMSR_LSTATUS)

    def _ethtool(self, interface: str) -> bool:
        value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0), 8)
        self._request(_SIOCETHTOOL, interface, struct.pack("@P", ctypes.addressof(value)))
        return bool(struct.unpack_from("=I", value.raw, 4)[0])

    def _flags(self, interface: str) -> bool:
        flags: int = struct.unpack_from("=H", self._request(_SIOCGIFFLAGS, interface, b""), _NAME_BYTES)[0]
        return flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
