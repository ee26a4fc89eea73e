"""The number in a tracked file (`track_file`)."""

import re

MOST_BYTES = 127
"""So much of the file is looked at."""

MISSING = 0
"""What a file counts as that is not there, or holds no number."""

_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([-+]?)(0[xX][0-9a-fA-F]+|[0-9]+)")


def number_of(octets: bytes) -> int | None:
    """The number at the beginning: decimal, 0x… or octal (0…); 0 when there is none; what follows is left aside.

    None when it does not fit 32 bits: what was read before goes on.
    """
    match = _NUMBER.match(octets[:MOST_BYTES])
    if match is None:
        return MISSING
    sign, digits = match.groups()
    if digits[:2].lower() == b"0x":
        number = int(digits, 16)
    elif digits[:1] == b"0":
        octal = re.match(rb"[0-7]+", digits)
        number = int(octal.group(), 8) if octal else 0
    else:
        number = int(digits)
    number = -number if sign == b"-" else number
    return number if -(2**31) <= number < 2**31 else None
