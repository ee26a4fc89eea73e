"""What the kernel itself says of a request it refuses (NETLINK_EXT_ACK): `Nexthop has invalid gateway`."""

import socket
import struct

from holdfast.kernel.netlink import attributes

_SOL_NETLINK, _EXT_ACK, _CAP_ACK = 270, 11, 10
_NLM_F_ACK, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x4, 0x100, 0x200
_MESSAGE = 1


def ask_again(message: bytes) -> tuple[int, str]:
    """Send a refused request of routing netlink once more: its errno now (0: done), and the kernel's sentence or "".

    A socket of its own, opened for this one question: refusals are rare, and answers with sentences are longer.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
            for option in (_EXT_ACK, _CAP_ACK):
                asking.setsockopt(_SOL_NETLINK, option, 1)
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 1, 0))
            flags = struct.unpack_from("=H", message, 6)[0] | _NLM_F_ACK
            asking.send(message[:6] + struct.pack("=H", flags) + message[8:])
            answer = asking.recv(65536)
    except OSError as refused:
        return refused.errno or 0, ""
    return read_answer(answer)


def read_answer(answer: bytes) -> tuple[int, str]:
    """errno and sentence of an acknowledgement (struct nlmsgerr, and attributes after it)."""
    length, _, flags, _, _, error = struct.unpack_from("=IHHIIi", answer)
    if not flags & _NLM_F_ACK_TLVS or not flags & _NLM_F_CAPPED:
        return -error, ""
    for kind, payload in attributes(answer, 36, length):
        if kind == _MESSAGE:
            return -error, payload.rstrip(b"\0").decode(errors="replace")
    return -error, ""
