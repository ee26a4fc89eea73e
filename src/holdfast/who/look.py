"""What `holdfast who` does: which addresses to look into and where, asking, and the verdicts."""

import difflib
import socket
from collections.abc import Callable
from typing import Any

from holdfast.base.address import Address, text
from holdfast.who.asking import (
    Heard,
    Kernel,
    Question,
    advertised,
    listen,
    neighbours_known,
    of_daemon,
    of_kernel,
    of_wire,
    prefix,
)
from holdfast.who.judge import Verdict, verdict

LONGEST_WAIT_S = 5.0
"""An advert of a slow master is waited for, but not longer than this unless asked for."""

Status = Callable[[], tuple[dict[str, Any] | None, str]]
"""Gives what `holdfast status --json` prints, or None and why nobody answers."""


class UnusableError(Exception):
    """The question can't be asked; the text says why and what helps."""


def look(
    words: tuple[str, ...], interface: str | None, names: bool, wait_s: float | None, ask_status: Status
) -> list[Verdict]:
    """The verdict on every address asked for, or on all; raises UnusableError."""
    status, missing = ask_status()
    kernel = Kernel()
    questions = _questions(words, interface, status, missing, kernel)
    found = _judged(questions, kernel, names, wait_s)
    if any(len(one.claimants) > 1 for one in found):
        # it may have moved just while we looked: two owners are told only when they still are two
        kernel = Kernel()
        status, missing = ask_status()
        found = _judged(_questions(words, interface, status, missing, kernel), kernel, names, wait_s)
    return found


def _questions(
    words: tuple[str, ...], interface: str | None, status: dict[str, Any] | None, missing: str, kernel: Kernel
) -> list[Question]:
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
    word: str, interface: str | None, known: list[Question], missing: str, kernel: Kernel
) -> list[Question]:
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


def _interface(instance: dict[str, Any], address: bytes, kernel: Kernel) -> str:
    """Where neighbours of the address are: the interface that has it, else the instance's; below a VMAC.

    A backup that asked with the virtual MAC would draw the master's traffic.
    """
    held = kernel.holding(Address(address))
    if not held:
        return str(instance.get("base") or instance["interface"])
    link = held[0][1]
    below = kernel.links.get(link.below) if link.kind in ("macvlan", "ipvlan") else None
    return (below or link).name


def _judged(questions: list[Question], kernel: Kernel, names: bool, wait_s: float | None) -> list[Verdict]:
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


def _hear(where: str, questions: list[Question], kernel: Kernel, wait_s: float | None) -> Heard:
    """Ask on one interface; wait for adverts only as long as an owner's own address is unknown."""
    here = [one for one in questions if one.interface == where]
    known = any(one.instance is not None for one in here)
    intervals = [one.instance["master_advert_interval_s"] for one in here if one.instance]
    longest = wait_s or min(1.25 * max(intervals, default=1.0) + 0.1, LONGEST_WAIT_S)

    def enough(heard: Heard) -> bool:
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
