"""The words everyone shares: checksums, addresses, spans, problems and commands."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.address import Address, Mac, is_link_local, is_multicast, mac_text, parse, text
from holdfast.base.checksum import internet_checksum
from holdfast.base.command import Command
from holdfast.base.problem import Grade, Problem
from holdfast.base.time import seconds, span_text

US, MS, S = 1_000, 1_000_000, 1_000_000_000
MIN, H, D = 60 * S, 3600 * S, 86400 * S


# ---- checksum -------------------------------------------------------------------------------------------------------


def slow_checksum(octets: bytes) -> int:
    """RFC 1071 §4.1, word by word."""
    total = 0
    for index in range(0, len(octets), 2):
        high, low = octets[index], octets[index + 1] if index + 1 < len(octets) else 0
        total += high << 8 | low
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.parametrize(
    ("octets", "checksum"),
    [
        ("0001 f203 f4f5 f6f7", 0x220D),  # RFC 1071 §3: the sum is ddf2
        ("", 0xFFFF),
        ("00", 0xFFFF),
        ("0000", 0xFFFF),
        ("ffff", 0x0000),
        ("ffff ffff", 0x0000),
        ("0001 fffe", 0x0000),
        ("ff", 0x00FF),  # an odd octet is the high one
        ("01 0203", 0xFBFD),
        ("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7", 0xB861),  # a header often shown
    ],
)
def test_rfc1071_examples(octets: str, checksum: int) -> None:
    assert internet_checksum(bytes.fromhex(octets)) == checksum


@given(st.binary(max_size=200) | st.integers(0, 80).map(lambda count: b"\xff" * count))
def test_rfc1071_as_word_by_word(octets: bytes) -> None:
    assert internet_checksum(octets) == slow_checksum(octets)


@given(st.binary(max_size=60).filter(lambda octets: len(octets) % 2 == 0))
def test_rfc1071_with_its_checksum_in_it_the_sum_is_zero(octets: bytes) -> None:
    assert internet_checksum(octets + internet_checksum(octets).to_bytes(2, "big")) == 0


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "packed", "shown"),
    [
        ("192.0.2.1", "c0000201", "192.0.2.1"),
        ("0.0.0.0", "00000000", "0.0.0.0"),
        ("::", "00" * 16, "::"),
        ("2001:DB8::1", "20010db8" + "00" * 11 + "01", "2001:db8::1"),
        ("2001:db8:0:0:1:0:0:1", "20010db8000000000001000000000001", "2001:db8::1:0:0:1"),
        ("::ffff:192.0.2.1", "00" * 10 + "ffffc0000201", "::ffff:192.0.2.1"),
    ],
)
def test_addresses_both_ways(written: str, packed: str, shown: str) -> None:
    assert parse(written).hex() == packed
    assert text(parse(written)) == shown


@pytest.mark.parametrize(
    "written",
    ["", "192.0.2", "192.0.2.256", "192.0.2.1/24", "192.0.2.1 ", "0x7f000001", "fe80::1%eth0", "1::2::3", "host",
     "192.0.2.1\0", "１92.0.2.1", "::1\udc80"],
)  # fmt: skip
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ValueError, match="is not a numeric IPv4 or IPv6 address"):
        parse(written)


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4))
def test_addresses_as_the_standard_library_has_them(packed: bytes) -> None:
    theirs = ipaddress.ip_address(packed)
    address = Address(packed)
    assert parse(text(address)) == address
    assert is_multicast(address) == theirs.is_multicast
    if isinstance(theirs, ipaddress.IPv6Address):
        assert is_link_local(address) == (theirs in ipaddress.ip_network("fe80::/10"))
    else:
        assert not is_link_local(address)


@pytest.mark.parametrize(
    ("written", "multicast", "link_local"),
    [
        ("223.255.255.255", False, False),
        ("224.0.0.18", True, False),
        ("239.255.255.255", True, False),
        ("240.0.0.0", False, False),
        ("169.254.1.1", False, False),
        ("ff02::12", True, False),
        ("fe80::1", False, True),
        ("febf::1", False, True),
        ("fec0::1", False, False),
        ("fe7f::1", False, False),
    ],
)
def test_groups_and_link_local_addresses(written: str, multicast: bool, link_local: bool) -> None:
    assert (is_multicast(parse(written)), is_link_local(parse(written))) == (multicast, link_local)


def test_addresses_compare_as_numbers() -> None:
    assert parse("10.0.0.0") > parse("9.255.255.255")
    assert parse("128.0.0.1") > parse("127.255.255.255")


def test_link_layer_addresses() -> None:
    assert mac_text(Mac(bytes.fromhex("00005E000133"))) == "00:00:5e:00:01:33"


# ---- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (0, "0 µs"),
        (350 * US, "350 µs"),
        (999 * US, "999 µs"),
        (999_499, "999 µs"),
        (999_500, "1 ms"),
        (MS, "1 ms"),
        (12_500 * US, "12.5 ms"),
        (609_375 * US, "609.4 ms"),
        (999_949_999, "999.9 ms"),
        (999_950_000, "1 s"),
        (S, "1 s"),
        (3_609_375_000, "3.609 s"),
        (10_250 * MS, "10.25 s"),
        (59 * S, "59 s"),
        (59_994_999_999, "59.99 s"),
        (59_995_000_000, "1 min"),
        (MIN, "1 min"),
        (4 * MIN + 10 * S, "4 min 10 s"),
        (59 * MIN + 59 * S, "59 min 59 s"),
        (H, "1 h"),
        (2 * H + 5 * MIN, "2 h 5 min"),
        (2 * H + 59 * S, "2 h"),
        (D, "1 d"),
        (3 * D + 4 * H, "3 d 4 h"),
        (-3_609_375_000, "-3.609 s"),
    ],
)
def test_spans_as_people_read_them(span: int, shown: str) -> None:
    assert span_text(span) == shown


@given(st.sampled_from([MS, S, MIN, H, D]).flatmap(lambda unit: st.integers(unit - unit // 99, unit)))
def test_no_span_is_shown_as_a_unit_too_small(span: int) -> None:
    shown = span_text(span)
    for thousand in ("1000 µs", "1e+03", "1000 ms", "60 s", "60 min", "24 h"):
        assert not shown.endswith(thousand), shown


def test_seconds() -> None:
    assert (seconds(3.609375), seconds(0.01), seconds(0.1 + 0.2)) == (3_609_375_000, 10_000_000, 300_000_000)


# ---- problems -------------------------------------------------------------------------------------------------------


def problem(**given: object) -> Problem:
    """A problem at 42:14 of keepalived.conf, with something else."""
    usual: dict[str, object] = {
        "file": "keepalived.conf", "line": 42, "column": 14, "grade": Grade.ERROR, "what": "priority 300 is too high"
    }  # fmt: skip
    return Problem(**{**usual, **given})  # type: ignore[arg-type]


def test_a_problem_with_its_line_and_a_caret_under_the_word() -> None:
    shown = problem(
        cure="use 1 to 255", meanwhile="taking 100, as keepalived does", source="    priority 300", width=3
    ).text()
    assert shown == (
        "keepalived.conf:42:14: error: priority 300 is too high: use 1 to 255; taking 100, as keepalived does\n"
        "        priority 300\n"
        "                 ^^^"
    )


def test_tabs_before_the_word_stand_before_the_caret_too() -> None:
    shown = problem(source="\t\tprio\t300", column=8, width=3).text()
    assert shown.splitlines()[1:] == ["    \t\tprio\t300", "    \t\t    \t^^^"]


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({"line": 0, "column": 0}, "keepalived.conf: error: priority 300 is too high"),
        ({"grade": Grade.WARNING}, "keepalived.conf:42:14: warning: priority 300 is too high"),
        ({"grade": Grade.ADVICE, "cure": "lower it"},
         "keepalived.conf:42:14: advice: priority 300 is too high: lower it"),
        ({"meanwhile": "taking 100"}, "keepalived.conf:42:14: error: priority 300 is too high; taking 100"),
    ],
)  # fmt: skip
def test_a_problem_in_one_line(given: dict[str, object], first: str) -> None:
    assert problem(**given).text() == first


def test_a_caret_is_always_there() -> None:
    assert problem(source="x", column=1, width=0).text().splitlines()[-1] == "    ^"


# ---- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (("/bin/true",), "/bin/true"),
        (("/bin/echo", "a b", ""), "/bin/echo 'a b' ''"),
        (("/bin/echo", "it's"), '/bin/echo "it\'s"'),
    ],
)
def test_a_command_as_an_operator_would_type_it(argv: tuple[str, ...], shown: str) -> None:
    assert Command(argv=argv).text() == shown
