"""`holdfast who`: who has each virtual address now, and the evidence side by side."""

import difflib
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError, NoDaemonError, ask

if TYPE_CHECKING:
    from holdfast.who.asking import Heard, Kernel, Question
    from holdfast.who.judge import Verdict

LONGEST_WAIT_S = 5.0
"""An advert of a slow master is waited for, but not longer than this unless asked for with --wait."""


class UnusableError(Exception):
    """The question can't be asked; the text says why and what helps."""


@click.command("who", short_help="who has each virtual address now, with the evidence")
@click.argument("vip_or_instance", nargs=-1)
@click.option("-i", "--interface", metavar="IFACE", help="where to ask [default: the instance's, else by the routes]")
@click.option("--names", is_flag=True, help="look names up in the DNS too, not only in /etc/hosts")
@click.option("--wait", "wait_s", type=click.FloatRange(0.1), metavar="SECONDS", help="listen so long for adverts")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(
    vip_or_instance: tuple[str, ...],
    interface: str | None,
    names: bool,
    wait_s: float | None,
    as_json: bool,
    run_dir: str | None,
) -> None:
    """Who has each virtual address: what this node believes, what its kernel has, what the wire says.

    \b
    Examples:
      holdfast who                       every address of this node's instances
      holdfast who web                   those of one instance
      holdfast who 192.0.2.1             one address
      holdfast who -i eth0 192.0.2.1     on a host without a daemon
      holdfast who --json | jq -r '.vips[] | "\\(.vip) \\(.owner.address)"'

    Every answer to an ARP request or neighbour solicitation counts, not only the first. Ends with 0 when every address
    has exactly one owner, 3 when one has none, 4 when one has several.
    """
    try:
        verdicts = look(vip_or_instance, interface, names, wait_s, run_dir)
    except (AskError, UnusableError) as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    from holdfast.who.judge import exit_status

    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.encode({"vips": verdicts}) + b"\n")
        sys.stdout.buffer.flush()
    else:
        sheet = Sheet()
        draw(verdicts, sheet)
        sheet.flush()
    raise SystemExit(exit_status(verdicts))


def look(
    words: tuple[str, ...], interface: str | None, names: bool, wait_s: float | None, run_dir: str | None
) -> list["Verdict"]:
    """The verdict on every address asked for."""
    from holdfast.who.asking import Kernel

    status, missing = _status(run_dir)
    kernel = Kernel()
    questions = _questions(words, interface, status, missing, kernel)
    found = _judged(questions, kernel, names, wait_s)
    if any(len(one.claimants) > 1 for one in found):
        # it may have moved just while we looked: two owners are told only when they still are two
        kernel = Kernel()
        status, missing = _status(run_dir)
        found = _judged(_questions(words, interface, status, missing, kernel), kernel, names, wait_s)
    return found


def _status(run_dir: str | None) -> tuple[dict[str, Any] | None, str]:
    try:
        status = ask(run_dir, {"command": "status"})
    except NoDaemonError as reason:
        return None, str(reason)
    _join_network_of(int(status["pid"]))
    return status, ""


def _join_network_of(pid: int) -> None:
    """Look and ask where the daemon does: it may live in another network namespace."""
    from holdfast.kernel.errors import KernelRefused
    from holdfast.kernel.namespaces import join_network

    theirs = f"/proc/{pid}/ns/net"
    try:
        if not os.path.samefile(theirs, "/proc/self/ns/net"):
            join_network(theirs)
    except OSError:
        pass  # not ours to see: then only root can have started it where we are not
    except KernelRefused as refused:
        click.echo(f"holdfast: {refused}; what follows is seen from outside", err=True)


def _questions(
    words: tuple[str, ...], interface: str | None, status: dict[str, Any] | None, missing: str, kernel: "Kernel"
) -> list["Question"]:
    from holdfast.who.asking import Question, prefix

    known: list[Question] = []
    for instance in (status or {}).get("instances") or []:
        for vip in [*instance["vips"], *instance["excluded_vips"]]:
            address = prefix(vip)
            where = interface or _interface(instance, address, kernel)
            known.append(Question(address=address, interface=where, instance=instance, shown=vip))
    if not words:
        if status is None:
            raise UnusableError(f"{missing}; without a daemon, name an address: holdfast who -i eth0 192.0.2.1")
        return known
    chosen: list[Question] = []
    for word in words:
        mine = [one for one in known if one.instance is not None and one.instance["name"] == word]
        chosen += mine or _by_address(word, interface, known, missing, kernel)
    return chosen


def _by_address(
    word: str, interface: str | None, known: list["Question"], missing: str, kernel: "Kernel"
) -> list["Question"]:
    from holdfast.who.asking import Question, prefix

    try:
        address = prefix(word)
    except ValueError:
        instances = sorted({str(one.instance["name"]) for one in known if one.instance})
        near = difflib.get_close_matches(word, instances, 1)
        cure = f"did you mean {near[0]}?" if near else f"instances are {', '.join(instances)}" if instances else missing
        raise UnusableError(f"{word!r} is neither an address nor an instance: {cure}") from None
    told = [one for one in known if one.address == address]
    if told:
        return told
    where = interface or kernel.towards(address)
    if not where:
        raise UnusableError(f"no interface leads to {word}: say where to ask with -i, as in `-i eth0`")
    if kernel.named(where) is None:
        there = ", ".join(sorted(link.name for link in kernel.links.values()))
        raise UnusableError(f"there is no interface {where!r}: there are {there}")
    return [Question(address=address, interface=where, shown=word)]


def _interface(instance: dict[str, Any], address: bytes, kernel: "Kernel") -> str:
    """Where neighbours of the address are: the interface that has it, else the instance's; below a VMAC.

    A backup that asked with the virtual MAC would draw the master's traffic.
    """
    from holdfast.base.address import Address

    held = kernel.holding(Address(address))
    if not held:
        return str(instance.get("base") or instance["interface"])
    link = held[0][1]
    below = kernel.links.get(link.below) if link.kind in ("macvlan", "ipvlan") else None
    return (below or link).name


def _judged(questions: list["Question"], kernel: "Kernel", names: bool, wait_s: float | None) -> list["Verdict"]:
    from holdfast.base.address import text
    from holdfast.who.asking import neighbours_known, of_daemon, of_kernel, of_wire
    from holdfast.who.judge import verdict

    heard = {where: _hear(where, questions, kernel, wait_s) for where in dict.fromkeys(q.interface for q in questions)}
    asked = {text(one.address) for one in questions}
    addresses = {mac: ip for mac, ip in neighbours_known().items() if ip not in asked}
    found = []
    looked_up: dict[str, str] = {}
    for question in questions:
        wire = of_wire(question, heard[question.interface], kernel)
        evidence = [*of_daemon(question), *of_kernel(question, kernel), *wire]
        instance = question.instance
        if instance and instance["master"] and instance["state"] == "BACKUP":
            answering = [one.mac for one in wire if one.source == "neighbours" and one.claims and one.mac]
            if len(answering) == 1:  # one answers, and one is heard: the same host
                addresses.setdefault(answering[0], instance["master"]["address"])
        for one in evidence:
            for address in (one.address, addresses.get(one.mac or "")):
                if address and address not in looked_up:
                    looked_up[address] = _name(address, one.here, names)
        told = {address: name for address, name in looked_up.items() if name}
        master = (instance or {}).get("master") or {}
        since = (master.get("address"), master.get("since"))
        name = instance["name"] if instance else None
        found.append(verdict(text(question.address), name, evidence, addresses, told, since))
    return found


def _hear(where: str, questions: list["Question"], kernel: "Kernel", wait_s: float | None) -> "Heard":
    """Ask on one interface; wait for adverts only as long as an owner's own address is unknown."""
    from holdfast.who.asking import advertised, listen

    here = [one for one in questions if one.interface == where]
    known = any(one.instance is not None for one in here)
    intervals = [one.instance["master_advert_interval_s"] for one in here if one.instance]
    longest = wait_s or min(1.25 * max(intervals, default=1.0) + 0.1, LONGEST_WAIT_S)

    def enough(heard: "Heard") -> bool:
        if wait_s is not None:
            return False
        open_ones = [one for one in here if not kernel.holding(one.address)]
        if known:  # the daemon hears the adverts, all we want is an answer
            open_ones = [one for one in open_ones if not any(a.address == one.address for a in heard.answers)]
        return all(advertised(heard, one) for one in open_ones)

    return listen(where, [one.address for one in here], kernel, enough, longest)


def _name(address: str, here: bool, names: bool) -> str:
    """The name of a host: our own, else what /etc/hosts says, else, when wanted, the DNS."""
    if here:
        return socket.gethostname()
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as hosts:
            for line in hosts:
                words = line.partition("#")[0].split()
                if len(words) > 1 and words[0] == address:
                    return words[1]
    except OSError:
        pass
    if names:
        try:
            return socket.gethostbyaddr(address)[0]
        except OSError:
            return ""
    return ""


def draw(verdicts: list["Verdict"], sheet: Sheet) -> None:
    """For people: the owner first, then what says so."""
    if not verdicts:
        sheet.line("no virtual address is configured")
    for one in verdicts:
        head = f"{one.vip}" + (f"  ({one.instance})" if one.instance else "")
        if one.conflict:
            sheet.line(sheet.paint(f"{head}  {len(one.claimants)} OWNERS", "red"))
        elif one.owner is None:
            sheet.line(sheet.paint(f"{head}  NOBODY", "red"))
        else:
            since = f", since {one.since}" if one.since else ""
            sheet.line(f"{head}  {sheet.paint(_host(one.claimants[0]), 'green')}{since}")
        for claimant in one.claimants if one.conflict else ():
            sheet.line(f"  owner     {_host(claimant)}; by {', '.join(claimant.by)}")
        for evidence in one.evidence:
            sheet.wrapped(evidence.says, 14, f"  {evidence.source}")
        if one.conflict:
            cure = (
                "clients reach now the one, now the other: let the hosts hear each other's adverts "
                "(`holdfast doctor` on each looks for what keeps them apart)"
            )
            sheet.wrapped(cure, 14, "  cure", "red")
        elif one.owner is None:
            sheet.wrapped("see `holdfast status` on each host that should have it", 14, "  cure", "red")


def _host(claimant: Any) -> str:
    named = [word for word in (claimant.name, claimant.address, claimant.mac) if word]
    return f"{'this host, ' if claimant.here else ''}{' '.join(named) or 'unknown'}"
