"""Self-made adverts, good and bad, with what a keepalived 2.4.3 in BACKUP did about each: we do the same.

"Accepted" means that the backup went on waiting. The few cases in which we differ on purpose stand below with a reason.
"""

from pathlib import Path

import msgspec
import pytest

from holdfast.config.check import Environment, check_file
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.machine import Backup, Standing, step
from holdfast.vrrp.messages import AdvertReceived
from holdfast.vrrp.packet import Advert
from holdfast.vrrp.receive import ReceiveRules, receive
from tests.config.golden import PlainDisk
from tests.vrrp.vectors import HERE, received


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One advert (`hex`, from the IP header on), the receiver's configuration, the verdict and the log line."""

    label: str
    config: str
    hex: str
    accepted: bool
    log: str


CASES = msgspec.json.decode((HERE / "acceptance.json").read_bytes(), type=list[Case])

OTHER_VERDICT = {
    "v3 IPv4 without pseudo header": "RFC 9568 has no pseudo header for IPv4: both forms are right",
    "v3 IPv6 bad checksum": "the kernel drops it before a socket sees it",
}

OTHER_LOG = {
    "v2 lower priority 49": "a backup that waits to preempt says so in its state, not at every advert",
    "v3 IPv4 without pseudo header": "accepted, with a remark",
    "v3 interval 0": "refused, for a learnt interval of 0 would make the backup master at once",
    "v3 unicast, checksum with 224.0.0.18": "accepted beside the right form, not in its place",
}


def config_of(case: Case, folder: Path) -> InstanceConfig:
    """The instance of the case's configuration."""
    path = folder / "keepalived.conf"
    path.write_text(case.config)
    plan = check_file(str(path), environment=Environment(config_id="here"), disk=PlainDisk()).plan
    assert plan is not None
    (config,) = plan.instances
    return config


def outcome(case: Case, folder: Path) -> tuple[bool, str]:
    """Whether a waiting backup's timer was restarted, and what the log gets."""
    config = config_of(case, folder)
    waiting = Backup(3_800_000_000, 1_000_000_000)
    advert = receive(ReceiveRules.from_config(config), received(bytes.fromhex(case.hex)))
    if not isinstance(advert, Advert):
        return False, advert.text
    event = AdvertReceived(advert.priority, received(bytes.fromhex(case.hex)).source, advert.adver_interval_ns)
    after, effects = step(config, Standing(config.priority), waiting, event, 1_000_000_000)
    assert isinstance(after, Backup)
    assert not effects
    return after.master_down_at != waiting.master_down_at, "\n".join(advert.remarks)


def test_the_cases_are_there() -> None:
    assert len(CASES) == 47
    labels = {case.label for case in CASES}
    assert labels >= OTHER_VERDICT.keys() | OTHER_LOG.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_verdict_is_keepaliveds(case: Case, tmp_path: Path) -> None:
    accepted, log = outcome(case, tmp_path)
    assert accepted == (case.accepted != (case.label in OTHER_VERDICT)), log
    if case.label in OTHER_LOG:
        assert case.log not in log, "the difference is gone: take it from the table"
    else:
        assert case.log in log
        assert bool(case.log) == bool(log) or not accepted
