"""Self-made adverts with AH and `auth_hmac`, two each, with what a keepalived 2.4.3 in BACKUP did: we do the same.

The verdict is on the second one. The few cases in which we differ on purpose stand below with a reason.
"""

from pathlib import Path

import msgspec
import pytest

from holdfast.base.address import Address
from holdfast.config.check import Environment, check_file
from holdfast.vrrp.config import Family
from holdfast.vrrp.guard import make_guard
from holdfast.vrrp.packet import Advert
from holdfast.vrrp.receive import ReceivedPacket, ReceiveRules, receive
from tests.config.golden import PlainDisk
from tests.vrrp.vectors import HERE


class Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One packet, from the IP header on, and the receiver's time of day when it came."""

    wall_ns: int
    hex: str


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two packets, the receiver's configuration, the verdict and the log line."""

    label: str
    config: str
    frames: list[Sent]
    accepted: bool
    log: str


CASES = msgspec.json.decode((HERE / "acceptance_authenticated.json").read_bytes(), type=list[Case])

OTHER_VERDICT = {
    "valid, checksum without pseudo header": "RFC 9568 has no pseudo header for IPv4: both forms are right",
    "v3_checksum_as_v2: garbage checksum": "whichever form is expected, a checksum that fits neither is wrong",
}


def received(sent: Sent) -> ReceivedPacket:
    """What the socket layer makes of a packet."""
    packet = bytes.fromhex(sent.hex)
    begins = 20 + (packet[21] + 2) * 4 if packet[9] == 51 else 20
    return ReceivedPacket(
        source=Address(packet[12:16]),
        destination=Address(packet[16:20]),
        ttl=packet[8],
        payload=packet[begins : int.from_bytes(packet[2:4], "big")],
        family=Family.IPV4,
        ah=packet[20:begins],
        ip_header=packet[:20],
        wall_ns=sent.wall_ns,
    )


def outcomes(case: Case, folder: Path) -> list[str | None]:
    """For each packet None, when it was taken, or why it was not; remarks count as taken."""
    path = folder / "keepalived.conf"
    path.write_text(case.config)
    plan = check_file(str(path), environment=Environment(config_id="here"), disk=PlainDisk()).plan
    (config,) = plan.instances
    assert not config.faults
    guard = make_guard(config) if config.guarded else None
    rules = ReceiveRules.from_config(config)
    said = [receive(rules, received(sent), guard) for sent in case.frames]
    return [None if isinstance(one, Advert) else one.text for one in said]


def test_the_cases_are_there() -> None:
    assert len(CASES) == 36
    assert {case.label for case in CASES} >= OTHER_VERDICT.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_verdict_is_keepaliveds(case: Case, tmp_path: Path) -> None:
    _, refused = outcomes(case, tmp_path)
    if case.label in OTHER_VERDICT:
        assert (refused is None) != case.accepted, "the difference is gone: take it from the table"
        return
    assert (refused is None) == case.accepted, refused
    if refused is not None:
        assert any(words in refused for words in case.log.split(" / ")), refused


def test_a_skew_near_the_window_is_remarked_once(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.label == "time +4 s, window 5")
    path = tmp_path / "keepalived.conf"
    path.write_text(case.config)
    (config,) = check_file(str(path), environment=Environment(config_id="here"), disk=PlainDisk()).plan.instances
    guard, rules = make_guard(config), ReceiveRules.from_config(config)
    first, second = (receive(rules, received(sent), guard) for sent in case.frames)
    assert isinstance(first, Advert)
    assert isinstance(second, Advert)
    assert first.remarks == (case.log,)
    assert second.remarks == ()
