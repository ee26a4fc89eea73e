"""The Internet checksum (RFC 1071)."""


def internet_checksum(octets: bytes) -> int:
    """The 16-bit one's complement of the one's complement sum of `octets`, padded with a zero byte when odd.

    Summing the whole as one big number modulo 0xffff gives the same as adding word by word: 2**16 ≡ 1 (mod 65535).
    """
    if len(octets) & 1:
        octets += b"\0"
    total = int.from_bytes(octets, "big")
    folded = total % 0xFFFF
    if folded == 0 and total:
        folded = 0xFFFF
    return folded ^ 0xFFFF
