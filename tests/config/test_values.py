"""Values: numbers in one unit, ranges, sloppy input, and the table that says what each keyword takes."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.config import special, values
from holdfast.config.keywords import Keyword, Status, all_blocks
from holdfast.config.keywords_lines import LINES
from holdfast.config.lexer import split
from holdfast.config.reading import read_value
from tests.config.reading import INSTANCE, check, only


def read(block: str, text: str) -> tuple[Any, list[str]]:
    """The value of a line, and what is wrong with it."""
    words, _open = split(text)
    value, troubles = read_value(all_blocks()[block].keywords[words[0]], words, text)
    return value, [f"{trouble.word}: {trouble.what}" for trouble in troubles]


@pytest.mark.parametrize(
    ("block", "text", "value", "wrong"),
    [
        ("vrrp_instance", "advert_int 0.01", 10_000_000, []),
        ("vrrp_instance", "advert_int 1.", 1_000_000_000, []),
        ("vrrp_instance", "advert_int .5", 500_000_000, []),
        ("vrrp_instance", "advert_int 0.125", 130_000_000, ["1: 0.125 is finer than advert_int can be"]),
        ("vrrp_instance", "advert_int 0.001", values.INVALID, None),
        ("vrrp_instance", "advert_int 256", values.INVALID, ["1: advert_int 256 is out of range"]),
        ("vrrp_instance", "advert_int 1s", 1_000_000_000, ["1: '1s' is not a number"]),
        ("vrrp_instance", "advert_int 1e3", 1_000_000_000, ["1: '1e3' is not a number"]),
        ("vrrp_instance", "advert_int -1", values.INVALID, ["1: '-1' is not a number"]),
        ("vrrp_instance", "virtual_router_id 255", 255, []),
        ("vrrp_instance", "virtual_router_id 0", values.INVALID, ["1: virtual_router_id 0 is out of range"]),
        ("vrrp_instance", "virtual_router_id 1,", 1, ["1: '1,' is not a number"]),
        ("vrrp_instance", "virtual_router_id 0x10", values.INVALID, None),
        ("vrrp_instance", "virtual_router_id ١", values.INVALID, None),  # digits of other scripts are no digits here
        ("vrrp_instance", "priority 99999999999999999999999999", values.INVALID, None),
        ("vrrp_instance", "garp_master_repeat 0", 1, []),
        ("vrrp_instance", "garp_lower_prio_repeat 0", 0, []),
        ("vrrp_instance", "garp_master_delay 7", 7_000_000_000, []),
        ("vrrp_instance", "strict_mode", True, []),
        ("vrrp_instance", "strict_mode off", False, []),
        ("vrrp_instance", "strict_mode Off", values.INVALID, ["1: 'Off' is neither on nor off"]),
        ("vrrp_instance", "timer_expired_backup", None, []),
        ("vrrp_instance", "interface a234567890123456", values.INVALID, None),
        ("vrrp_instance", "interface eth0 foo", "eth0", ["2: 'foo' after 'eth0' means nothing"]),
        ("vrrp_instance", "nopreempt really", True, ["1: 'really' after 'nopreempt' means nothing"]),
        ("vrrp_instance", "mcast_src_ip 192.0.2.1/24", bytes([192, 0, 2, 1]), None),
        ("vrrp_instance", "mcast_src_ip 192.0.2", values.INVALID, None),
        ("vrrp_instance", "state Master", "BACKUP", ["1: state 'Master' is unknown"]),
        ("vrrp_instance", "version 4", values.INVALID, ["1: there is no VRRP version '4'"]),
        ("authentication", "auth_pass 1234", b"1234\0\0\0\0", []),
        ("authentication", "auth_pass 123456789", b"12345678", ["1: auth_pass has 9 characters"]),
        ("global_defs", "vrrp_rt_priority 0", 1, ["1: vrrp_rt_priority 0 is out of range"]),
        ("global_defs", "vrrp_rlimit_rttime 1", 2, ["1: vrrp_rlimit_rttime 1 is out of range"]),
        ("global_defs", "vrrp_priority -21", values.INVALID, None),
        ("global_defs", "umask 0177", 0o177, []),
        ("global_defs", "umask IXUSR|IRWXG | IRWXO", 0o177, []),
        ("global_defs", "umask 0999", values.INVALID, None),
        ("global_defs", "vrrp_rx_bufs_policy ADVERT", "ADVERT", []),
        ("global_defs", "vrrp_rx_bufs_policy 4096", "4096", []),
        ("global_defs", "vrrp_garp_interval 0.0000001", values.INVALID, None),
        ("global_defs", "vrrp_gna_interval 0.000001", 1_000, []),
        ("global_defs", "startup_script_timeout 1001", values.INVALID, None),
        ("global_defs", "reload_file x", values.INVALID, None),
        ("global_defs", "notify_fifo /run/f root root", ("/run/f", ("root", "root")), []),
        ("global_defs", "lvs_sync_daemon eth0 VI_1 id 300", ("eth0", "VI_1", "id", "300"), None),
        ("vrrp_script", "interval 0.5", 500_000_000, []),
        ("vrrp_script", "interval 0", 1_000_000_000, []),
        ("vrrp_script", "weight -20 reverse", (-20, "reverse"), []),
        ("vrrp_script", "weight 254", values.INVALID, None),
        ("vrrp_script", "script /usr/bin/a b", values.RawScript(("/usr/bin/a",)), ["2: 'b' is not given to the program"]),
        ("vrrp_instance", 'notify "/a b" me us', values.RawScript(("/a", "b"), ("me", "us")), []),
        ("bfd_instance", "min_rx 0.5", values.INVALID, None),
        ("bfd_instance", "min_rx 10.5", 10_500_000, []),
        ("virtual_server", "protocol tcp", "TCP", []),
        ("virtual_server", "lb_kind FNAT", values.INVALID, ["1: there is no forwarding 'FNAT'"]),
        ("virtual_server", "persistence_timeout", None, []),
        ("virtual_server", "persistence_timeout 0", values.INVALID, None),
        ("url", "status_code 200-204 301", ((200, 204), (301, 301)), []),
        ("url", "status_code 200,204", values.INVALID, None),
        ("url", r'regex "a\"b c"', 'a"b c', []),
        ("UDP_CHECK", "payload 0a0", values.INVALID, None),
        ("UDP_CHECK", "require_reply 0axx", "0axx", []),
    ],
)
def test_values(block: str, text: str, value: Any, wrong: list[str] | None) -> None:
    found, told = read(block, text)
    assert found == value
    if wrong is None:
        assert told
    else:
        assert told == wrong


def every_keyword() -> list[tuple[str, Keyword]]:
    return [(block.name, row) for block in all_blocks().values() for row in block.keywords.values()]


@pytest.mark.parametrize(("block", "keyword"), every_keyword(), ids=lambda one: getattr(one, "name", one))
def test_every_keyword_reads_anything_without_a_traceback(block: str, keyword: Keyword) -> None:
    for rest in ("", "x", "1", "-1 x", "on", "192.0.2.1 80", '"" ""', "99999999999999999999", "reverse weight", "| | |"):
        text = f"{keyword.name} {rest}".strip()
        read_value(keyword, split(text)[0], text)


def test_every_row_is_whole() -> None:
    known = all_blocks()
    for name, keyword in every_keyword():
        assert keyword.meaning, f"{name}.{keyword.name} says nothing"
        assert not keyword.opens or keyword.opens in known, f"{name}.{keyword.name} opens an unknown block"
        assert not keyword.checked or keyword.checked in special.CHECKED
        assert all(arg.kind in values.READERS for arg in keyword.args), f"{name}.{keyword.name}"
    assert sum(len(block.keywords) for block in (*known.values(), *LINES)) > 600


PARTS = {"root", "vrrp_instance", "global_defs", "vrrp_sync_group"}


@pytest.mark.parametrize(
    ("block", "keyword"),
    [(name, row) for name, row in every_keyword() if row.status is Status.PENDING and name in PARTS],
    ids=lambda one: getattr(one, "name", one),
)
def test_what_is_not_carried_out_is_told(tmp_path: Path, block: str, keyword: Keyword) -> None:
    line = f"{keyword.name} x y" + (" {\n}" if keyword.opens else "")
    wrapped = line if block == "root" else f"{block} {'x' if block != 'global_defs' else ''} {{\n{line}\n}}\n"
    told = [problem.what for problem in check(tmp_path, wrapped).problems]
    assert any(keyword.name in what and "not yet carried out" in what for what in told), told


def test_a_remark_after_a_value_is_told_with_its_column(tmp_path: Path) -> None:
    problem = only(check(tmp_path, INSTANCE.format(inside="priority 7\t\tseven")))
    assert (problem.line, problem.column, problem.width) == (5, 17, 5)
    assert problem.text().splitlines()[1:] == ["        priority 7\t\tseven", "                  \t\t^^^^^"]
