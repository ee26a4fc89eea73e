"""Braces out of order, as the reference takes them."""

from pathlib import Path

import pytest

from tests.config.reading import INSTANCE, check, names, only, whats

HEAD = "vrrp_instance VI {\ninterface eth0\nvirtual_router_id 5\n"
VIP = "virtual_ipaddress { 192.0.2.1 }\n"


@pytest.mark.parametrize(
    "text",
    [
        "vrrp_instance VI {\n interface eth0\n virtual_router_id 5\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n",
        "vrrp_instance VI\n{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress\n{\n192.0.2.1\n}\n}\n",
        "vrrp_instance VI{ interface eth0\nvirtual_router_id 5\nvirtual_ipaddress{192.0.2.1}}\n",
        "vrrp_instance VI { # remark {\ninterface eth0 # }\nvirtual_router_id 5\nvirtual_ipaddress { ! }\n192.0.2.1 }}\r\n",
    ],
)
def test_blocks_however_they_are_laid_out(tmp_path: Path, text: str) -> None:
    checked = check(tmp_path, text)
    assert whats(checked) == []
    assert checked.would_run["instances"][0]["vips"] == ["192.0.2.1/32"]


def test_words_of_a_block_on_one_line_are_one_line(tmp_path: Path) -> None:
    checked = check(tmp_path, "vrrp_instance VI { interface eth0 virtual_router_id 5 }\n")
    assert checked.verdict == "refused"
    assert "1: 'virtual_router_id 5' after 'eth0' means nothing" in whats(checked)


def test_the_brace_of_an_unknown_block_closes_its_parent(tmp_path: Path) -> None:
    checked = check(tmp_path, HEAD + VIP + "foo {\nbar\n}\npriority 7\n}\n")
    assert checked.would_run["instances"][0]["priority"] == 100
    assert whats(checked) == [
        "5: 'foo' is no keyword in vrrp_instance",
        "5: '{' stands where no block can begin",
        "6: 'bar' is no keyword in vrrp_instance",
        "8: 'priority' is no keyword outside any block",
        "9: '}' closes nothing",
    ]


def test_a_missing_opening_brace_is_imagined(tmp_path: Path) -> None:
    checked = check(tmp_path, "vrrp_instance VI\ninterface eth0\nvirtual_router_id 5\n" + VIP + "}\n")
    assert names(checked) == ["VI"]
    assert whats(checked) == ["2: '{' is missing after vrrp_instance", "5: there is one '}' too many"]


def test_blocks_open_at_the_end_are_kept(tmp_path: Path) -> None:
    checked = check(tmp_path, HEAD + "virtual_ipaddress {\n192.0.2.1\n")
    assert names(checked) == ["VI"]
    assert "2 '}' missing" in only(checked).what


def test_what_is_out_of_order_among_virtual_servers_does_not_touch_instances(tmp_path: Path) -> None:
    broken = "virtual_server 192.0.2.9 80 {\nfoo {\nbar {\n}\n}\n}\n"
    checked = check(tmp_path, broken + INSTANCE.format(inside="priority 7"))
    assert [one["priority"] for one in checked.would_run["instances"]] == [7]


def test_what_is_out_of_order_in_global_defs_does_not_touch_instances(tmp_path: Path) -> None:
    # the reference's VRRP process skips global_defs by its braces
    checked = check(tmp_path, "global_defs {\nnotification_email a@b\nrouter_id x\n}\n" + INSTANCE.format(inside=""))
    assert names(checked) == ["VI"]


def test_braces_in_a_list_are_entries_and_count(tmp_path: Path) -> None:
    checked = check(tmp_path, HEAD + "virtual_ipaddress {\n{\n192.0.2.1\n}\npriority 5\n}\n}\n")
    assert whats(checked) == ["5: '{' is not an address", "10: '}' closes nothing"]
    assert checked.would_run["instances"][0]["priority"] == 5


@pytest.mark.parametrize("head", ["vrrp_instance", "vrrp_instance a b", "vrrp_sync_group"])
def test_a_block_without_a_proper_name_is_skipped_whole(tmp_path: Path, head: str) -> None:
    checked = check(tmp_path, head + " {\nnonsense\nauthentication {\n}\n}\n" + INSTANCE.format(inside=""))
    assert names(checked) == ["VI"]
    assert "name" in only(checked).what


def test_an_open_quote_drops_its_line(tmp_path: Path) -> None:
    checked = check(tmp_path, INSTANCE.format(inside='notify_master "/usr/bin/true\n    priority 9'))
    assert only(checked).what == "a quote is never closed after notify_master"
    assert checked.would_run["instances"][0]["priority"] == 9


def test_the_second_block_of_a_name_is_left_aside(tmp_path: Path) -> None:
    checked = check(tmp_path, INSTANCE.format(inside="priority 9") + INSTANCE.format(inside="priority 8"))
    assert [one["priority"] for one in checked.would_run["instances"]] == [9]
    assert "a second time" in only(checked).what


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("vrrp_strikt", "did you mean vrrp_strict?"),
        ("virtual_router_id", "it belongs in vrrp_instance"),
        ("vrrp_instance", "end the block before it with '}'"),
        ("lvs_id", "use router_id"),
        ("qqqqqq", "remove the line, or put # before it"),
    ],
)
def test_unknown_words_get_a_suggestion(tmp_path: Path, word: str, cure: str) -> None:
    assert only(check(tmp_path, f"global_defs {{\n{word}\n}}\n")).cure == cure


def test_a_missing_argument_refuses_the_file(tmp_path: Path) -> None:
    checked = check(tmp_path, INSTANCE.format(inside="priority"))
    assert (checked.verdict, names(checked)) == ("refused", [])
