"""Where dumps go, and that no trap laid there works."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.config.plan import Settings, VrrpPlan
from holdfast.daemon.options import Options
from holdfast.engine.node import NodeView
from holdfast.export.files import data_path, directory, replace, write, write_dump
from holdfast.export.words import address_words, command_words, moment
from holdfast.vrrp.config import VirtualAddress

NOTHING = NodeView(instances=[], sync_groups=[], trackers=[])


def test_the_directory_is_tmpdir_when_absolute(tmp_path: Path) -> None:
    assert directory({}) == "/tmp"
    assert directory({"TMPDIR": str(tmp_path)}) == str(tmp_path)
    assert directory({"TMPDIR": "relative"}) == "/tmp"
    assert directory({"TMPDIR": str(tmp_path / "absent")}) == "/tmp"


@pytest.mark.parametrize(
    ("settings", "process", "path"),
    [
        (Settings(), "", "/tmp/keepalived.data"),
        (Settings(), "_parent", "/tmp/keepalived_parent.data"),
        (Settings(dump_with_instance=True), "", "/tmp/keepalived.data"),
        (Settings(dump_with_instance=True, instance_name="foo"), "_bfd", "/tmp/keepalived_bfd.foo.data"),
        (Settings(dump_with_instance=True, instance_name="foo", net_namespace="t1"), "", "/tmp/keepalived.t1_foo.data"),
        (Settings(instance_name="foo"), "", "/tmp/keepalived.data"),
        (Settings(state_dump_file="/var/lib/x/"), "", "/var/lib/x/keepalived.data"),
        (Settings(state_dump_file="/var/lib/x/vrrp.txt"), "", "/var/lib/x/vrrp.txt"),
        (Settings(state_dump_file="/var/lib/x/vrrp.txt"), "_parent", "/var/lib/x/vrrp_parent.txt"),
        (Settings(state_dump_file="state"), "_parent", "/tmp/state_parent"),
    ],
)
def test_the_data_files_name(settings: Settings, process: str, path: str) -> None:
    assert data_path(settings, process, {}) == path


def test_each_kind_writes_its_files_for_root_alone(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    written = [os.path.basename(p) for k in ("data", "stats", "json") for p in write(k, VrrpPlan(), NOTHING, environment)]
    assert written == ["keepalived_parent.data", "keepalived.data", "keepalived.stats", "keepalived.json"]
    assert sorted(os.listdir(tmp_path)) == sorted(written)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "keepalived.json").read_bytes() == b"[]\n"


def test_the_umask_of_the_configuration_counts(tmp_path: Path) -> None:
    write("json", VrrpPlan(settings=Settings(umask=0o022)), NOTHING, {"TMPDIR": str(tmp_path)})
    assert stat.S_IMODE((tmp_path / "keepalived.json").stat().st_mode) == 0o644


def test_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    asked = VrrpPlan(settings=Settings(umask=0o022, dump_with_instance=True, net_namespace="a", instance_name="i"))
    plan, view, environment = msgspec.msgpack.encode(asked), msgspec.json.encode(NOTHING), {"TMPDIR": str(tmp_path)}
    for options, name, mode in (
        (Options(), "keepalived.a_i.data", 0o644),
        (Options(umask=0o137, net_namespace="b"), "keepalived.b_i.data", 0o640),
    ):
        written = write_dump("data", plan, view, options, environment)
        assert written[1] == str(tmp_path / name)
        assert stat.S_IMODE(os.stat(written[1]).st_mode) == mode


def test_a_link_laid_as_a_trap_is_replaced_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "shadow"
    precious.write_text("precious")
    trap = tmp_path / "keepalived.data"
    trap.symlink_to(precious)
    replace(str(trap), b"dump")
    assert (precious.read_text(), trap.is_symlink(), trap.read_text()) == ("precious", False, "dump")


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "keepalived.data").mkdir()
    with pytest.raises(IsADirectoryError) as failed:
        replace(str(tmp_path / "keepalived.data"), b"dump")
    assert failed.value.filename == str(tmp_path / "keepalived.data")
    assert os.listdir(tmp_path) == ["keepalived.data"]
    with pytest.raises(FileNotFoundError):
        replace(str(tmp_path / "absent" / "x"), b"dump")


@pytest.mark.parametrize(
    ("iso", "epoch_s", "local"),
    [
        ("2026-11-22T23:20:13.508726+00:00", "1795389613.508726", "Sun Nov 22 23:20:13.508726 2026"),
        ("2026-11-23T00:20:13.508+01:00", "1795389613.508000", "Mon Nov 23 00:20:13.508000 2026"),
        ("2026-11-22T17:50:13-05:30", "1795389613.000000", "Sun Nov 22 17:50:13.000000 2026"),
        ("1970-01-01T00:00:00Z", "0.000000", "Thu Jan  1 00:00:00.000000 1970"),
        ("2000-02-29T12:00:00+00:00", "951825600.000000", "Tue Feb 29 12:00:00.000000 2000"),
    ],
)
def test_a_time_as_dumps_show_it(iso: str, epoch_s: str, local: str) -> None:
    shown = moment(iso)
    assert (shown.epoch_s, shown.local) == (epoch_s, local)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (VirtualAddress(address=parse("192.0.2.18"), prefix_length=32, peer=parse("192.0.2.99")),
         "192.0.2.18 dev eth0 scope global peer 192.0.2.99/32"),
        (VirtualAddress(address=parse("192.0.2.16"), prefix_length=24, broadcast=parse("192.0.2.255"), interface="eth1",
                        scope=254, no_track=True),
         "192.0.2.16/24 brd 192.0.2.255 dev eth1 scope host no_track"),
        (VirtualAddress(address=parse("192.0.2.17"), prefix_length=24, home=True, mngtmpaddr=True, noprefixroute=True,
                        autojoin=True),
         "192.0.2.17/24 dev eth0 scope global home mngtmpaddr noprefixroute autojoin"),
        (VirtualAddress(address=parse("fe80::1"), prefix_length=128, home=True, preferred_lft_s=0),
         "fe80::1 dev eth0 scope global home deprecated"),
        (VirtualAddress(address=parse("192.0.2.19"), prefix_length=32, preferred_lft_s=0), "192.0.2.19 dev eth0 scope global"),
    ],
)  # fmt: skip
def test_addresses_as_keepalived_2_2_7_wrote_them(address: VirtualAddress, shown: str) -> None:
    assert address_words(address, "eth0", False) == shown
    assert address_words(address, "eth0", True) == f"{shown} set"


def test_a_commands_words_are_quoted() -> None:
    assert command_words(Command(argv=("/bin/true", "a b", ""))) == "'/bin/true' 'a b' ''"
