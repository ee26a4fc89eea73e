"""The number in a tracked file: what counts, and what does not."""

import pytest

from holdfast.track.file import number_of


@pytest.mark.parametrize(
    ("octets", "number"),
    [
        (b"5\n", 5),
        (b"  -12 and more", -12),
        (b"+7", 7),
        (b"0x10", 16),
        (b"-0X1f", -31),
        (b"010", 8),
        (b"08", 0),  # no octal digit: the 0 counts, the rest is text
        (b"0", 0),
        (b"12abc", 12),
        (b"1.9", 1),
        (b"", 0),
        (b"\n", 0),
        (b"yes", 0),
        (b"- 5", 0),
        (b"\xff\xfe5", 0),
        (b"\0005", 0),
        (b"2147483647", 2147483647),
        (b"2147483648", None),
        (b"-2147483648", -2147483648),
        (b"-2147483649", None),
        (b"0xffffffff", None),
        (b"9" * 127, None),
        (b" " * 127 + b"5", 0),  # beyond what is looked at
    ],
)
def test_number(octets: bytes, number: int | None) -> None:
    assert number_of(octets) == number
