"""What is written to the operators about: states of instances and groups, real servers, quorums (`smtp_alert`)."""

import socket
from typing import TYPE_CHECKING

import msgspec

from holdfast.config.plan import Settings
from holdfast.edge.mail import Mailer
from holdfast.engine.messages import MailNotice, StateNotice

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

WORDS = {
    "MASTER": "Entering MASTER state",
    "BACKUP": "Entering BACKUP state",
    "FAULT": "Entering FAULT state",
    "STOP": "Stopping",
    "DELETED": "Deleted",
}
"""What the subject says of a state, in keepalived's words: people sort their mail by them."""


class _Alerts(msgspec.Struct, frozen=True):
    smtp_alert: bool = False


class _Named(msgspec.Struct, frozen=True):
    name: str
    notify: _Alerts = _Alerts()


class MailPart(msgspec.Struct, frozen=True):
    """The part of a plan that says what is written about."""

    settings: Settings = Settings()
    instances: tuple[_Named, ...] = ()
    groups: tuple[_Named, ...] = ()


class Mailing:
    """Composes the mails of one supervisor."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._part = MailPart()
        self._wanted: set[tuple[str, str]] = set()
        self._last: dict[tuple[str, str], str] = {}
        self.mailer = Mailer(supervisor.loop, supervisor.log.say, supervisor.after)

    def load(self, octets: bytes) -> None:
        """Write about what a plan asks for."""
        self._part = part = msgspec.msgpack.decode(octets, type=MailPart)
        self.mailer.load(part.settings.mail)
        self._wanted = {("INSTANCE", one.name) for one in part.instances if one.notify.smtp_alert}
        self._wanted |= {("GROUP", one.name) for one in part.groups if one.notify.smtp_alert}

    def state(self, notice: StateNotice) -> None:
        """An instance or group has another state."""
        key = notice.kind, notice.name
        word, mail = WORDS.get(notice.state), self._part.settings.mail
        if mail is None or key not in self._wanted or word is None or self._last.get(key) == notice.state:
            return
        if notice.state == "FAULT" and not mail.faults:
            return
        self._last[key] = notice.state
        group = notice.kind == "GROUP"
        lines = [
            f"{'Sync group' if group else 'Instance'} {notice.name} of {socket.gethostname()} is {notice.state} now"
            + (f": {notice.cause}." if notice.cause else "."),
        ]
        if not group:
            lines.append(f"Its priority is {notice.priority}.")
        lines += ["", f"More: holdfast why {notice.name}; holdfast events"]
        self.mailer.send(f"VRRP {'Group' if group else 'Instance'} {notice.name} - {word}", "\n".join(lines) + "\n")

    def take(self, notice: MailNotice) -> None:
        """The lvs worker has something to write about."""
        host = socket.gethostname()
        self.mailer.send(notice.subject, f"{notice.text}\n\nHost {host}. More: holdfast status; holdfast events\n")
