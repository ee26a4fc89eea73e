"""What only some configurations need beside the workers: the bus, mail, the web worker.

Each is loaded when a plan first asks for it: a node that has none of them carries none of their code.
"""

from typing import TYPE_CHECKING

from holdfast.engine.messages import MailNotice

if TYPE_CHECKING:
    from holdfast.daemon.bus import Bus
    from holdfast.daemon.mailing import Mailing
    from holdfast.daemon.supervise import Supervisor
    from holdfast.daemon.web import Web


class Companions:
    """The companions of one supervisor."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._here = supervisor
        self._bus: Bus | None = None
        self._mailing: Mailing | None = None
        self._web: Web | None = None

    def load(self, octets: bytes, reloaded: bool = False) -> None:
        """Have what a plan asks for, from now on; the listeners must know the plan already."""
        listeners, options = self._here.listeners, self._here.options
        settings = listeners.settings
        if self._bus is None and settings.dbus_service:
            from holdfast.daemon.bus import Bus

            self._bus = Bus(self._here, listeners.instance_states())
            listeners.state_hooks.append(self._bus.state)
        if self._mailing is None and settings.mail is not None:
            from holdfast.daemon.mailing import Mailing

            self._mailing = Mailing(self._here)
            listeners.state_hooks.append(self._mailing.state)
        if self._web is None and (options.web or settings.web_listen):
            from holdfast.daemon.web import Web

            self._web = Web(self._here)
            listeners.journal.on_entry = self._web.changed
        if self._bus is not None:
            self._bus.load(octets, reloaded)
        if self._mailing is not None:
            self._mailing.load(octets)
        if self._web is not None:
            self._web.load(octets)

    def take_mail(self, notice: MailNotice) -> None:
        """The lvs worker has something to write about."""
        if self._mailing is not None:
            self._mailing.take(notice)

    def leave(self) -> None:
        """The daemon is about to stop: what is on its way is hurried."""
        if self._mailing is not None:
            self._mailing.mailer.leave()

    def pending(self) -> bool:
        """Whether something is on its way that the end should wait for."""
        return self._mailing is not None and self._mailing.mailer.pending()

    def stop(self) -> None:
        """Let their processes end."""
        if self._bus is not None:
            self._bus.stop()
        if self._web is not None:
            self._web.stop()
