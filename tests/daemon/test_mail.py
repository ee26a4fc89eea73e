"""`smtp_alert`: real mail to a real server; a relay that is away, hangs or refuses holds nothing up."""

import email
import email.policy
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from holdfast.engine import service_notices as letters
from holdfast.engine.balancer import Balancer, CheckTold, ServiceTold
from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until
from holdfast.lvs.messages import QuorumLost, ServerDown, ServerUp
from tests.engine.test_balancer import plan, service

TEXT = """
global_defs {{
    router_id ha01
    notification_email {{
        ann@example.org
        "Bob <bob@example.org>"
    }}
    notification_email_from "Watch <watch@example.org>"
    smtp_server 127.0.0.1 2525
    smtp_helo_name ha01.example.org
    smtp_connect_timeout {timeout}
    smtp_alert_vrrp
    {more}
}}
vrrp_sync_group both {{
    group {{
        web
        quiet
    }}
}}
vrrp_instance web {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    virtual_ipaddress {{
        192.0.2.100/24
    }}
}}
vrrp_instance quiet {{
    interface eth0
    virtual_router_id 52
    version 3
    advert_int 0.1
    smtp_alert off
    virtual_ipaddress {{
        192.0.2.101/24
    }}
}}
"""


class Inbox:
    """A mail server's memory: of each message the sender, recipients, greeting and headers."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], str, Any]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, session.host_name, mail))
        return "250 taken"

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for *_, mail in self.mails]


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("host")


def text(timeout: int = 5, more: str = "") -> str:
    return TEXT.format(timeout=timeout, more=more)


def test_states_are_mailed_once_each_in_keepalived_s_words(host: Host) -> None:
    inbox = Inbox()
    with host.inside():
        server = Controller(inbox, hostname="127.0.0.1", port=2525)
        server.start()
    try:
        daemon = start_holdfast(host, text(more="no_email_faults"))
        wanted = {
            "[ha01] VRRP Instance web - Entering BACKUP state",
            "[ha01] VRRP Instance web - Entering MASTER state",
            "[ha01] VRRP Group both - Entering MASTER state",
        }
        wait_until(lambda: wanted <= set(inbox.subjects()), 20, "the mails of the start")
        sender, recipients, greeted, mail = inbox.mails[0]
        assert (sender, recipients) == ("watch@example.org", ["ann@example.org", "bob@example.org"])
        assert greeted == "ha01.example.org"
        assert str(mail["To"]) == "ann@example.org, Bob <bob@example.org>"
        assert mail["Date"]
        assert "holdfast why web" in mail.get_content()
        host.run("ip", "link", "set", "eth0", "down")
        host.run("ip", "link", "set", "eth0", "up")
        wait_until(lambda: inbox.subjects().count("[ha01] VRRP Instance web - Entering BACKUP state") == 2, 20, "back")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        said = inbox.subjects()
        assert "[ha01] VRRP Instance web - Stopping" in said
        assert not any("FAULT" in one or "quiet" in one for one in said)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("listens", "said"), [(False, "ConnectionRefusedError"), (True, "the conversation takes longer than 8 s")]
)
def test_a_relay_that_refuses_or_hangs_is_said_and_holds_nothing_up(host: Host, listens: bool, said: str) -> None:
    with host.inside():
        silent = socket.socket()
        silent.bind(("127.0.0.1", 2525))
    if listens:
        silent.listen(8)
    daemon = start_holdfast(host, text(timeout=1))
    wait_until(lambda: host.holds("192.0.2.100"), 5, "the instance is master")
    said = "timed out" if listens else said
    wait_until(lambda: said in daemon.text() and "trying again in 10 s" in daemon.text(), 15, "it is said")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    silent.close()


def test_what_is_written_about_real_servers() -> None:
    made = Balancer(plan(service(80, {1: 0, 2: 1}, smtp_alert=True)), 0)
    made.begin(0)
    down, up, lost = ServerDown(0), ServerUp(0, at_start=True), QuorumLost(0)
    mail = letters.of_service(made, ServiceTold(0, down))
    assert mail is not None
    assert mail.subject == "Realserver 10.0.0.1:80 of virtual server [192.0.2.1]:tcp:80 - DOWN"
    assert letters.of_service(made, ServiceTold(0, up)) is None  # it was so at the start
    quorum = letters.of_service(made, ServiceTold(0, lost))
    assert quorum is not None
    assert quorum.subject == "Virtualserver [192.0.2.1]:tcp:80 - DOWN"
    assert list(letters.of_check(made, CheckTold(0, "refused", False))) == []  # the server's own mail says it
