"""Exit statuses and lines of `keepalived -t`."""

from pathlib import Path

import pytest

from holdfast.config.check import Environment
from holdfast.config.reference_test import config_test
from tests.config.golden import PlainDisk
from tests.config.reading import INSTANCE


class OneInterface(PlainDisk):
    def interfaces(self) -> set[str]:
        return {"lo", "eth0", "eth1"}

    def resolves(self, host: str) -> bool:
        return host.startswith("192.")


SCRIPT = "vrrp_script s {\nscript %s\n}\n"
SECURE = "global_defs {\nenable_script_security\nscript_user root\n}\n"


def run(folder: Path, text: str, *, checks: bool = False) -> tuple[int, list[str]]:
    path = folder / "k.conf"
    path.write_text(text)
    return config_test(str(path), environment=Environment(config_id="h", all_include_checks=checks), disk=OneInterface())


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 0),
        (INSTANCE.format(inside=""), 0),
        (INSTANCE.format(inside="priority 7 remark"), 0),  # surplus words pass in silence there
        (INSTANCE.format(inside="priority"), 2),
        (INSTANCE.format(inside="priority\nfoo"), 2),
        (INSTANCE.format(inside="").replace("eth0", "eth9"), 4),
        (INSTANCE.format(inside="foo").replace("eth0", "eth9"), 5),
        ("global_defs {\ndynamic_interfaces\n}\n" + INSTANCE.format(inside="").replace("eth0", "eth9"), 0),
        (INSTANCE.format(inside="foo"), 5),
        (INSTANCE.format(inside="priority 300"), 5),
        (INSTANCE.format(inside="nopreempt\npriority 255"), 5),
        (INSTANCE.format(inside="thread_timer_expired\nnopreempt"), 5),
        (INSTANCE.format(inside="") + "}\n", 5),
        (INSTANCE.format(inside="use_vmac"), 0),
        (INSTANCE.format(inside="notify /none"), 0),
        (SCRIPT % "/none" + INSTANCE.format(inside="track_script { s }"), 5),
        (SCRIPT % "/usr/bin/true" + INSTANCE.format(inside="track_script { s }"), 6),
        (SCRIPT % "/usr/bin/true" + INSTANCE.format(inside="track_script { s }\npriority 300"), 6),
        (SECURE + SCRIPT % "/usr/bin/true" + INSTANCE.format(inside="track_script { s }"), 0),
        (SCRIPT % "/usr/bin/true", 0),  # no instance, no look at scripts
        ("include none\n", 4),
        ("includem none\n", 6),
        ("global_defs {\nenable_snmp_vrrp\n}\n", 5),
        ("global_defs {\nsmtp_server 192.0.2.1\n}\n", 0),
        ("global_defs {\nsmtp_server nowhere.invalid\n}\n", 5),
    ],
)
def test_exit_status(tmp_path: Path, text: str, status: int) -> None:
    assert run(tmp_path, text)[0] == status


def test_a_missing_file_is_no_error_unless_asked(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert config_test(none, disk=OneInterface())[0] == 0
    assert config_test(none, environment=Environment(all_include_checks=True), disk=OneInterface())[0] == 4


def test_lines_in_its_manner(tmp_path: Path) -> None:
    _status, lines = run(tmp_path, "foo\n" + INSTANCE.format(inside="priority 0").replace("eth0", "eth9"))
    assert lines == [
        "(Line 1) Unknown keyword 'foo'",
        "(Line 6) Priority not valid! must be between 1 & 255. Using default 100",
        "(Line 4) WARNING - interface eth9 for vrrp_instance VI doesn't exist",
        "Non-existent interface specified in configuration",
    ]
