"""What is told of services and checks: lines of the log and the FIFOs, scripts, entries of the journal, mails.

The words and subjects are keepalived's: people search their logs and sort their mail by them.
"""

from collections.abc import Iterator

from holdfast.base.address import Address, text
from holdfast.check.config import BfdCheck, Check, FileCheck, MiscCheck, kind_of
from holdfast.engine.balancer import Balancer, CheckTold, ServiceTold
from holdfast.engine.messages import LogLine, MailNotice, Notice, ServiceNotice
from holdfast.lvs.config import RealServerConfig, VirtualServerConfig
from holdfast.lvs.lines import fifo_line, log_lines, server_label
from holdfast.lvs.messages import QuorumGained, QuorumLost, ServerDown, ServerUp
from holdfast.vrrp.messages import Level


def notices(balancer: Balancer, told: ServiceTold | CheckTold) -> Iterator[Notice]:
    """All that follows from one thing told, in order."""
    if isinstance(told, CheckTold):
        check = balancer.checks[told.check].check
        word = "" if told.up is None else "succeeded: " if told.up else "failed: "
        level = Level.INFO if told.up else Level.WARNING
        yield LogLine(level, f"{kind_of(check)} of {shown(check)} {word}{told.text}")
        if told.up is not None:
            yield from of_check(balancer, told)
        return
    slot, effect = balancer.services[told.service], told.effect
    level = Level.WARNING if isinstance(effect, ServerDown | QuorumLost) else Level.INFO
    for line in log_lines(slot.config, slot.state, effect):
        yield LogLine(level, line)
    notice = _notice(balancer, told)
    if notice is not None:
        yield notice
    mail = of_service(balancer, told)
    if mail is not None:
        yield mail


def _notice(balancer: Balancer, told: ServiceTold) -> ServiceNotice | None:
    """The script, the FIFO line and the entry of the journal; None when the change is no news."""
    config, effect = balancer.services[told.service].config, told.effect
    line = fifo_line(config, effect, init_notifies=balancer.plan.lvs.init_notifies) or ""
    if isinstance(effect, ServerUp | ServerDown):
        if not line:
            return None
        server, up = config.servers[effect.server], isinstance(effect, ServerUp)
        return ServiceNotice(
            service=config.label, server=server_label(config, server), up=up, fifo_line=line,
            command=server.notify_up if up else server.notify_down, cause=balancer.cause(told.service, effect.server),
        )  # fmt: skip
    if isinstance(effect, QuorumGained | QuorumLost):
        up = isinstance(effect, QuorumGained)
        keeps = config.quorum + config.hysteresis if up else max(config.quorum - config.hysteresis, 1)
        return ServiceNotice(
            service=config.label, up=up, fifo_line=line, command=config.quorum_up if up else config.quorum_down,
            cause=f"weight {effect.live} is alive, {keeps} {'gains' if up else 'keeps'} it",
        )  # fmt: skip
    return None


def shown(check: Check) -> str:
    """Whom a check asks, in a line of log."""
    if isinstance(check, MiscCheck):
        return check.command.text()
    if isinstance(check, FileCheck):
        return check.track_file
    if isinstance(check, BfdCheck):
        return check.name
    where = text(check.target.address)
    return f"[{where}]:{check.target.port}" if check.target.port else where


def of_service(balancer: Balancer, told: ServiceTold) -> MailNotice | None:
    """The mail about a server that came or went, or a quorum; None when nobody asked for one."""
    plan, effect = balancer.plan.lvs, told.effect
    config = balancer.services[told.service].config
    if isinstance(effect, ServerUp | ServerDown):
        server = config.servers[effect.server]
        first = isinstance(effect, ServerUp) and effect.at_start and not plan.init_notifies
        if first or not _server_alerts(balancer, server):
            return None
        return _server(config, server, isinstance(effect, ServerUp), balancer.cause(told.service, effect.server))
    if isinstance(effect, QuorumGained | QuorumLost):
        wanted = config.smtp_alert if config.smtp_alert is not None else plan.smtp_alert
        if not wanted:
            return None
        up = isinstance(effect, QuorumGained)
        said = f"Weight {effect.live} is alive; the quorum is {config.quorum}, its hysteresis {config.hysteresis}."
        return MailNotice(f"Virtualserver {config.label} - {'UP' if up else 'DOWN'}", said)
    return None


def of_check(balancer: Balancer, told: CheckTold) -> Iterator[MailNotice]:
    """Mails about servers of which one check changed and yet they did not (not with `no_checker_emails`)."""
    if balancer.plan.lvs.no_checker_emails:
        return
    for number in balancer.checks[told.check].services:
        slot = balancer.services[number]
        for server, state in zip(slot.config.servers, slot.state.servers, strict=True):
            others = [one for one in (*state.failed, *state.unproven) if one != told.check]
            if told.check in server.checks and others and _server_alerts(balancer, server):
                yield _server(slot.config, server, bool(told.up), told.text)


def _server_alerts(balancer: Balancer, server: RealServerConfig) -> bool:
    if server.smtp_alert is not None:
        return server.smtp_alert
    return balancer.plan.lvs.smtp_alert is not False  # on, unless it is globally off


def _server(config: VirtualServerConfig, server: RealServerConfig, up: bool, cause: str) -> MailNotice:
    address = text(Address(server.address))
    shown = f"[{address}]:{server.port}" if ":" in address else f"{address}:{server.port}"
    subject = f"Realserver {shown} of virtual server {config.label} - {'UP' if up else 'DOWN'}"
    return MailNotice(subject, cause or ("It is used again." if up else "It is not used any more."))
