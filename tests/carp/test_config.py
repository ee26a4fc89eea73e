"""`carp_instance`: what its lines come to, what is told of faulty ones, and that no password shows."""

from pathlib import Path

import pytest

from holdfast.base.address import parse
from holdfast.carp.config import CarpTerms
from holdfast.config.changes import changes
from holdfast.config.check import Checked, Environment, check_file
from holdfast.config.drift import drift
from holdfast.config.plan import plan_lines
from holdfast.engine.record import _without_password
from holdfast.vrrp.config import Family, InstanceConfig
from tests.config.golden import PlainDisk

BLOCK = "carp_instance gate {{\n interface eth0\n vhid 7\n {lines}\n virtual_ipaddress {{\n 192.0.2.77/24\n }}\n}}\n"


def read(tmp_path: Path, text: str) -> Checked:
    path = tmp_path / "carp.conf"
    path.write_text(text)
    environment = Environment(config_id="here")
    return check_file(str(path), environment=environment, disk=PlainDisk())


def one(tmp_path: Path, *lines: str) -> tuple[InstanceConfig, list[str]]:
    outcome = read(tmp_path, BLOCK.format(lines="\n ".join(lines)))
    usual = ("carp_instance is holdfast's own", "scripts are run, and enable_script_security is not set")
    told = [problem.what for problem in outcome.problems if problem.what not in usual]
    (instance,) = outcome.plan.instances
    return instance, told


def test_defaults_are_ucarps(tmp_path: Path) -> None:
    config, told = one(tmp_path, "password swordfish")
    assert told == []
    assert config.carp == CarpTerms(advbase=1, advskew=0, dead_ratio=3, password=b"swordfish")
    assert (config.vrid, config.priority, config.adver_interval_ns) == (7, 254, 1_000_000_000)
    assert config.group == parse("224.0.0.18")
    assert not config.preempt


def test_every_term_is_read(tmp_path: Path) -> None:
    config, told = one(
        tmp_path, "password swordfish", "advbase 2", "advskew 64", "demotion 64", "dead_ratio 4", "preempt",
        "preempt_delay 5", "anti_replay", "neutral", "notify_backup /usr/bin/true", "shutdown", "start_delay 1",
        "unicast_peer {\n 192.0.2.9\n }", "unicast_src_ip 192.0.2.5",
    )  # fmt: skip
    assert told == []
    terms = CarpTerms(
        advbase=2, advskew=64, demotion=64, dead_ratio=4, password=b"swordfish", anti_replay=True, neutral=True
    )
    assert config.carp == terms
    assert (config.priority, config.adver_interval_ns, config.down_timer_adverts) == (126, 2_500_000_000, 4)
    assert (config.preempt, config.preempt_delay_ns, config.start_delay_ns) == (True, 5_000_000_000, 1_000_000_000)
    assert (config.group, config.source) == (None, parse("192.0.2.5"))
    assert config.notify.stop == config.notify.backup != None  # noqa: E711


WRONG = [
    (("advbase 1",), "gate: there is no password", "there is no password"),
    (('password ""',), "gate: the password is empty", "the password is empty"),
    (("password 123456789012345678901",), "gate: the password is too long: 21 octets",
     "the password is too long: 21 octets"),
    (("password 12345678901234567890",), "gate: ucarp takes no password of 20 octets", ""),
    (("password short",), "gate: the password is short: 5 octets", ""),
    (("key_file /nowhere/key",), "gate: /nowhere/key: No such file or directory", "key_file can't be used"),
    (("password swordfish", "preempt_delay 5"), "gate: preempt_delay means nothing without preempt", ""),
    (("password swordfish", "advskew 254"), "advskew 254 is out of range", ""),
    (("password swordfish", "broadcast", "unicast_peer {\n 192.0.2.9\n }"),
     "gate: broadcast means nothing here: adverts go to unicast_peer", ""),
    (("password swordfish", "shutdown"), "gate: shutdown without notify_backup", ""),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "what", "fault"), WRONG)
def test_what_is_wrong_is_told(tmp_path: Path, lines: tuple[str, ...], what: str, fault: str) -> None:
    config, told = one(tmp_path, *lines)
    assert told == [what]
    assert config.faults == ((fault,) if fault else ())


def test_a_key_file_is_read_and_its_mode_looked_at(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"swordfish\r\nand more\n")
    key.chmod(0o600)
    config, told = one(tmp_path, f"key_file {key}")
    assert config.carp is not None
    assert (config.carp.password, told) == (b"swordfish", [])
    key.chmod(0o644)
    _, told = one(tmp_path, f"key_file {key}")
    assert told == [f"gate: others can read or change {key} (-rw-r--r--)"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("carp_instance a {\n vhid 7\n password swordfish\n virtual_ipaddress {\n 192.0.2.77\n }\n}\n",
         "a: interface is missing"),
        ("carp_instance a {\n interface eth0\n password swordfish\n virtual_ipaddress {\n 192.0.2.77\n }\n}\n",
         "a: vhid is missing"),
        ("carp_instance a {\n interface lo\n vhid 7\n password swordfish\n virtual_ipaddress {\n 192.0.2.77\n }\n}\n",
         "a: CARP can't run on the loopback interface"),
    ],
)  # fmt: skip
def test_a_faulty_instance_is_left_aside_and_the_others_run(tmp_path: Path, text: str, what: str) -> None:
    vrrp = "vrrp_instance web {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.78\n }\n}\n"
    outcome = read(tmp_path, text + vrrp)
    assert [problem.what for problem in outcome.problems if problem.grade == "error"] == [what]
    assert outcome.verdict == "runs"
    assert [config.name for config in outcome.plan.instances] == ["web"]


def test_a_vhid_and_a_vrid_may_be_the_same_number_and_two_vhids_not(tmp_path: Path) -> None:
    block = BLOCK.format(lines="password swordfish")
    vrrp = "vrrp_instance web {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.78\n }\n}\n"
    assert len(read(tmp_path, block + vrrp).plan.instances) == 2
    assert read(tmp_path, block + block.replace("gate", "other")).verdict == "refused"


def test_no_password_in_a_recording_or_a_repr(tmp_path: Path) -> None:
    config, _ = one(tmp_path, "password swordfish")
    hidden = _without_password(config, {})
    assert hidden.carp is not None
    assert hidden.carp.password != b"swordfish"
    assert "swordfish" not in repr(config)
    plan = read(tmp_path, BLOCK.format(lines="password swordfish")).plan
    other = read(tmp_path, BLOCK.format(lines="password herring22")).plan
    shown = [*plan_lines(plan), *(str(one) for one in changes(plan, other)), *(str(one) for one in drift(plan, other))]
    assert any("password" in line for line in shown)
    for secret in (b"swordfish", b"herring22"):
        assert not [line for line in shown if secret.decode() in line or secret.hex() in line]


def test_drift_tells_what_makes_two_hosts_deaf(tmp_path: Path) -> None:
    one, other = (
        read(tmp_path, BLOCK.format(lines=f"password {word}\n advskew {skew}")).plan
        for word, skew in (("swordfish", 0), ("herring22", 50))
    )
    found = {found.field: found for found in drift(one, other)}
    assert found["password"].must_agree
    assert found["interval"].effect == "as it should: the first is MASTER while both are well"
    assert set(found) == {"password", "interval"}


def test_ipv6_has_a_group_of_its_own_and_no_broadcast(tmp_path: Path) -> None:
    block = BLOCK.replace("192.0.2.77/24", "2001:db8::77/64").format(lines="password swordfish\n broadcast")
    outcome = read(tmp_path, block)
    (config,) = outcome.plan.instances
    told = [problem.what for problem in outcome.problems]
    assert (config.family, config.group) == (Family.IPV6, parse("ff02::12"))
    assert config.carp == CarpTerms(password=b"swordfish")
    assert "gate: broadcast means nothing here: IPv6 has no broadcast" in told
