"""`authentication` and `auth_hmac` from their lines: keys from everywhere, what is wrong with them, and no key shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli.check import command as check
from holdfast.cli.drift import command as drift
from holdfast.config.changes import changes
from holdfast.config.check import Environment, check_file
from holdfast.config.disk import ElsewhereDisk
from holdfast.config.plan import VrrpPlan, covered, plan_lines
from holdfast.vrrp.config import AuthHmac, AuthMode, AuthType, HmacKey, InstanceConfig
from tests.config.golden import PlainDisk

HEX = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
TEXT = "correct-horse-battery-staple-0123456789"


def conf(block: str, more: str = "version 3", priority: int = 100) -> str:
    return (
        f"vrrp_instance web {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n {more}\n {block}\n"
        " virtual_ipaddress {\n  192.0.2.100/24\n }\n}\n"
    )


def signed(*lines: str, active: str = "active_key 1") -> str:
    return "auth_hmac {\n  " + "\n  ".join((*lines, active)) + "\n }"


class Disk(PlainDisk):
    """With systemd's credentials in a folder."""

    def __init__(self, credentials: str = "") -> None:
        super().__init__()
        self.credentials = credentials

    def variables(self) -> dict[str, str]:
        return {"CREDENTIALS_DIRECTORY": self.credentials} if self.credentials else {}


def read(folder: Path, text: str, credentials: str = "") -> tuple[InstanceConfig, list[str], Any]:
    """The instance, its problems as text, and the whole outcome."""
    path = folder / "keepalived.conf"
    path.write_text(text)
    checked = check_file(str(path), environment=Environment(config_id="here"), disk=Disk(credentials))
    (config,) = checked.plan.instances
    return config, [problem.text() for problem in checked.problems], checked


def test_every_setting(tmp_path: Path) -> None:
    block = signed(f"key 1 hex:{HEX}", f"key 7 {TEXT}", "mode permissive", "anti_replay monotonic", "time_window 30",
                   active="active_key 7")  # fmt: skip
    config, problems, _ = read(tmp_path, conf(block))
    assert problems == []
    assert config.auth_hmac == AuthHmac(
        keys=(HmacKey(id=1, secret=bytes(range(32))), HmacKey(id=7, secret=TEXT.encode())),
        active_key=7,
        mode=AuthMode.PERMISSIVE,
        monotonic=True,
        time_window_s=30,
    )


@pytest.mark.parametrize(("interval", "window_s"), [("0.1", 5), ("1", 5), ("2", 6), ("40", 120)])
def test_the_window_follows_the_interval(tmp_path: Path, interval: str, window_s: int) -> None:
    config, _, _ = read(tmp_path, conf(signed(f"key 1 hex:{HEX}"), f"version 3\n advert_int {interval}"))
    assert config.auth_hmac is not None
    assert config.auth_hmac.time_window_s == window_s
    assert config.auth_hmac.mode is AuthMode.ENFORCE


@pytest.mark.parametrize("content", [f"hex:{HEX}\n", f"hex:{HEX}\r\n\n", bytes(range(32)).decode()])
def test_a_key_in_a_file(tmp_path: Path, content: str) -> None:
    key = tmp_path / "web.key"
    key.write_bytes(content.encode())
    key.chmod(0o600)
    config, problems, _ = read(tmp_path, conf(signed(f"key 1 file:{key}")))
    assert problems == []
    assert config.auth_hmac is not None
    assert config.auth_hmac.keys[0].secret == bytes(range(32))


def test_the_line_end_of_a_file_is_no_part_of_a_key(tmp_path: Path) -> None:
    key = tmp_path / "web.key"
    key.write_text(f"{TEXT}\n")
    key.chmod(0o600)
    config, _, _ = read(tmp_path, conf(signed(f"key 1 file:{key}")))
    assert config.auth_hmac is not None
    assert config.auth_hmac.keys[0].secret == TEXT.encode()


def test_a_key_of_systemds(tmp_path: Path) -> None:
    key = tmp_path / "web.key"
    key.write_text(f"hex:{HEX}\n")
    key.chmod(0o440)
    config, problems, _ = read(tmp_path, conf(signed("key 1 file:web.key")), str(tmp_path))
    assert problems == []
    assert config.auth_hmac is not None
    config, problems, _ = read(tmp_path, conf(signed("key 1 file:web.key")))
    assert config.auth_hmac is None
    assert "LoadCredential=web.key:/path" in problems[0]


def test_a_key_that_others_can_read_is_told_and_used(tmp_path: Path) -> None:
    key = tmp_path / "web.key"
    key.write_text(f"hex:{HEX}\n")
    key.chmod(0o644)
    config, problems, _ = read(tmp_path, conf(signed(f"key 1 file:{key}")))
    assert config.auth_hmac is not None
    assert not config.faults
    (problem,) = problems
    assert f"others can read or change {key} (-rw-r--r--): chmod 600 {key}" in problem


@pytest.mark.parametrize(
    ("lines", "active", "said"),
    [
        ((f"key 1 hex:{HEX[:62]}",), "active_key 1", "key 1 is too short: 31 octets"),
        ((f"key 1 hex:{HEX}{HEX}aa",), "active_key 1", "key 1 is too long: 65 octets"),
        (("key 1 tooshort-but-secret",), "active_key 1", "key 1 is too short: 19 octets"),
        ((f"key 1 hex:{HEX}x",), "active_key 1", "key 1 is no hexadecimal number"),
        (("key 1 file:/nowhere/web.key",), "active_key 1", "/nowhere/web.key: No such file or directory"),
        ((f"key 0 hex:{HEX}",), "active_key 1", "the id of a key is a number from 1 to 255"),
        ((f"key hex:{HEX}",), "active_key 1", "the id of a key is a number from 1 to 255"),
        (("key 1 some words of a secret phrase",), "active_key 1", "key 1 has more than one value"),
        ((f"key 1 hex:{HEX}",), "active_key 2", "active_key 2: there is no such key"),
        ((f"key 1 hex:{HEX}",), "mode enforce", "there is no active_key"),
    ],
)
def test_a_block_that_cannot_be_used_keeps_the_instance_in_fault(
    tmp_path: Path, lines: tuple[str, ...], active: str, said: str
) -> None:
    config, problems, _ = read(tmp_path, conf(signed(*lines, active=active)))
    assert config.auth_hmac is None
    assert config.faults[0].startswith("auth_hmac: ")
    assert any(said in problem for problem in problems), problems
    shown = CliRunner().invoke(check, [str(tmp_path / "keepalived.conf")]).output
    for secret in (HEX[:20], "but-secret", "phrase"):
        assert secret not in shown + "".join(problems)


def test_another_key_that_cannot_be_used_is_left_aside(tmp_path: Path) -> None:
    config, problems, _ = read(tmp_path, conf(signed(f"key 1 hex:{HEX}", "key 2 short", f"key 1 {TEXT}")))
    assert config.auth_hmac is not None
    assert [key.secret for key in config.auth_hmac.keys] == [bytes(range(32))]
    assert len(problems) == 2


def test_beside_authentication_and_in_strict_mode(tmp_path: Path) -> None:
    both = signed(f"key 1 hex:{HEX}") + "\n authentication {\n  auth_type PASS\n  auth_pass abc\n }"
    config, problems, _ = read(tmp_path, conf(both, "version 2"))
    assert config.auth_type is AuthType.NONE
    assert config.auth_hmac is not None
    assert "authentication beside auth_hmac" in problems[0]
    config, problems, _ = read(tmp_path, conf(signed(f"key 1 hex:{HEX}", "mode permissive"), "version 3\n strict_mode"))
    assert config.auth_hmac is not None
    assert config.auth_hmac.mode is AuthMode.ENFORCE
    assert any("strict mode wants enforce" in problem for problem in problems)


def test_ah_is_of_ipv4_only(tmp_path: Path) -> None:
    block = "authentication {\n  auth_type AH\n  auth_pass abc\n }"
    config, problems, _ = read(tmp_path, conf(block, "version 2"))
    assert (config.auth_type, config.faults, problems) == (AuthType.AH, (), [])
    config, problems, _ = read(tmp_path, conf(block, "version 2\n state MASTER"))
    assert not config.state_master
    assert "AH can't start as MASTER" in problems[0]
    config, problems, _ = read(tmp_path, conf(block, "version 2").replace("192.0.2.100/24", "fe80::64/64"))
    assert config.auth_type is AuthType.NONE
    assert any("has no authentication" in problem or "no AH for IPv6" in problem for problem in problems)


def test_plans_are_compared_and_shown_without_keys(tmp_path: Path) -> None:
    plans: list[VrrpPlan] = []
    for key in (f"hex:{HEX}", TEXT):
        _, _, checked = read(tmp_path, conf(signed(f"key 1 {key}")))
        plans.append(covered(checked.plan, b"salt" * 4))
        assert HEX not in "\n".join(plan_lines(checked.plan))
        assert bytes(range(32)) not in repr(checked.plan).encode()
    assert changes(plans[0], plans[0]) == ()
    (change,) = changes(*plans)
    assert change.what == "auth_hmac: key 1 ********, active 1, enforce, window 5 s → the same with other octets"
    _, _, again = read(tmp_path, conf(signed(f"key 1 {TEXT}")))
    assert covered(again.plan, b"salt" * 4) == plans[1] != covered(again.plan, b"else" * 4)


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        (signed(f"key 1 hex:{HEX}"), signed(f"key 1 hex:{HEX}"), ""),
        (signed(f"key 1 hex:{HEX}"), "", "auth_hmac"),
        (signed(f"key 1 hex:{HEX}"), signed(f"key 1 {TEXT}"), "auth_hmac key"),
        (signed(f"key 1 hex:{HEX}"), signed(f"key 2 {TEXT}", active="active_key 2"), "auth_hmac key"),
        (
            signed(f"key 1 hex:{HEX}", f"key 2 {TEXT}"),
            signed(f"key 1 hex:{HEX}", f"key 2 {TEXT}", active="active_key 2"),
            "",
        ),
        (signed(f"key 1 hex:{HEX}", "mode receive-only"), signed(f"key 1 hex:{HEX}"), "auth_hmac mode"),
        (signed(f"key 1 hex:{HEX}", "mode permissive"), signed(f"key 1 hex:{HEX}"), ""),
        (signed("key 1 file:/a/key"), signed("key 1 file:/a/key"), ""),
    ],
)
def test_drift_knows_them(tmp_path: Path, first: str, second: str, field: str) -> None:
    paths = [tmp_path / "a.conf", tmp_path / "b.conf"]
    for path, block, priority in zip(paths, (first, second), (150, 100), strict=True):
        path.write_text(conf(block, priority=priority))
    ran = CliRunner().invoke(drift, ["--json", *(str(path) for path in paths)])
    must = {one["field"] for one in json.loads(ran.output)["differences"] if one["must_agree"]}
    assert must == ({field} if field else set())
    assert HEX[:20] not in ran.output
    assert TEXT[:20] not in ran.output


def test_a_key_of_the_other_host_is_taken_to_be_in_order(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(conf(signed("key 1 file:/only/there", "key 2 file:credential")))
    checked = check_file(str(path), environment=Environment(config_id="here"), disk=ElsewhereDisk())
    (config,) = checked.plan.instances
    assert config.auth_hmac is not None
    assert len(config.auth_hmac.keys) == 2
