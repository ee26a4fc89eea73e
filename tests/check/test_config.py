"""What a checker leaves out is its real server's, then its virtual server's, then its kind's own."""

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.check.config import (
    Check,
    HttpCheck,
    Kind,
    MiscCheck,
    Pace,
    PaceWords,
    Schedule,
    Target,
    TargetWords,
    TcpCheck,
    Tls,
    Url,
    kind_of,
    schedule_of,
    settle_pace,
    settle_target,
)  # fmt: skip

S = 1_000_000_000
SILENT = PaceWords()


@pytest.mark.parametrize(
    ("kind", "retry", "between"),
    [("TCP_CHECK", 1, S), ("HTTP_GET", 1, 3 * S), ("SSL_GET", 1, 3 * S), ("DNS_CHECK", 3, 60 * S), ("MISC_CHECK", 0, S),
     ("SMTP_CHECK", 1, S), ("UDP_CHECK", 1, S), ("PING_CHECK", 1, S)],
)  # fmt: skip
def test_each_kind_has_its_defaults(kind: Kind, retry: int, between: int) -> None:
    assert settle_pace(kind, SILENT, SILENT, SILENT) == Pace(
        delay_loop_ns=60 * S, retry=retry, delay_before_retry_ns=between, warmup_ns=60 * S
    )


def test_the_nearest_level_that_speaks_decides() -> None:
    service = PaceWords(delay_loop_ns=6 * S, retry=5, warmup_ns=4 * S, connect_timeout_ns=3 * S, alpha=True)
    server = PaceWords(delay_loop_ns=7 * S, delay_before_retry_ns=2 * S, connect_timeout_ns=S)
    own = PaceWords(retry=0, warmup_ns=0, alpha=False)
    assert settle_pace("TCP_CHECK", service, server, own, log_all_failures=True) == Pace(
        delay_loop_ns=7 * S, retry=0, delay_before_retry_ns=2 * S, warmup_ns=0, alpha=False, log_all_failures=True
    )
    assert settle_pace("TCP_CHECK", service, SILENT, SILENT).alpha is True
    assert settle_pace("DNS_CHECK", service, SILENT, SILENT).delay_before_retry_ns == 6 * S
    assert settle_pace("TCP_CHECK", SILENT, server, SILENT).warmup_ns == 7 * S
    address = parse("192.0.2.7")
    assert settle_target(address, 80, TargetWords(), service, server, own) == Target(
        address=address, port=80, timeout_ns=S
    )
    elsewhere = TargetWords(connect_ip=parse("2001:db8::1"), connect_port=81, bind_if="eth9", fwmark=3)
    assert settle_target(address, 80, elsewhere, service, SILENT, SILENT) == Target(
        address=parse("2001:db8::1"), port=81, bind_interface="eth9", fwmark=3, timeout_ns=3 * S
    )


WHO = Target(address=parse("192.0.2.7"), port=80, timeout_ns=2 * S)
URL = Url(path="/", host="192.0.2.7:80")


def test_checks_survive_being_sent_and_equal_ones_are_one() -> None:
    checks: list[Check] = [
        TcpCheck(target=WHO),
        HttpCheck(target=WHO, urls=(URL,), tls=Tls(server_name="www.example.org"), protocol="2"),
        MiscCheck(command=Command(argv=("/bin/true",))),
    ]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(checks), type=list[Check]) == checks
    assert len({TcpCheck(target=WHO), TcpCheck(target=WHO)}) == 1
    assert [kind_of(check) for check in checks] == ["TCP_CHECK", "SSL_GET", "MISC_CHECK"]
    assert kind_of(HttpCheck(target=WHO, urls=(URL,))) == "HTTP_GET"


def test_the_schedule_knows_stages_and_deadline() -> None:
    assert schedule_of(HttpCheck(target=WHO, urls=(URL, URL), fast_recovery=True)) == Schedule(
        pace=Pace(), deadline_ns=2 * S, stages=2, fast_recovery=True
    )
    misc = MiscCheck(command=Command(argv=("/bin/true",), timeout_ns=9 * S))
    assert schedule_of(misc) == Schedule(pace=Pace(), deadline_ns=9 * S)
