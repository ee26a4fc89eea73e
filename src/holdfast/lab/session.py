"""The lab's language: one command a line, for people at a prompt and for scripts.

`Session.run(line)` does one; `CommandError` says what was not understood, `NotSoError` what was expected and is not so.
Everything that happens is told to a `Teller`, as lines for people or as JSON.
"""

import difflib
import re
import select
import shlex
import sys
import time
from collections.abc import Callable
from typing import Protocol

from holdfast.base.address import Address, parse, text
from holdfast.base.time import span_text
from holdfast.lab.hosts import NotInTimeError, wait_until
from holdfast.lab.probe import Probe, Report
from holdfast.lab.site import Router, Site, SiteError, shell

PATIENCE_S = 10.0
STATES = ("MASTER", "BACKUP", "FAULT", "INIT", "STOP")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")


class CommandError(Exception):
    """A command that is not understood or can't be done."""


class NotSoError(Exception):
    """What was expected is not so."""


class Teller(Protocol):
    """Where what happens is told."""

    def fact(self, kind: str, what: str, good: bool = True, **more: object) -> None:
        """Something has happened; `more` goes into the JSON form."""

    def title(self, what: str) -> None:
        """A heading."""

    def plain(self, what: str) -> None:
        """Something to read."""


def seconds(word: str) -> float:
    """`500ms`, `5s`, `2m`, `1.5`; CommandError."""
    found = _SPAN.fullmatch(word)
    if not found:
        raise CommandError(f"{word!r} is no time: write 500ms, 5s or 2m")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, None: 1}[found[2]]


class Session:
    """One lab being used."""

    def __init__(self, site: Site, teller: Teller) -> None:
        self.site, self.tell = site, teller
        self.probes: dict[Address, Probe] = {}
        self.reports: list[tuple[str, str, Report]] = []  # what, the address, how it went
        self.last: Report | None = None
        self.ended = False
        self.commands: dict[str, tuple[Callable[[list[str]], None], str, str]] = {
            "start": (self._start, "HOST…", "start the daemon; after a crash, boot the host first"),
            "stop": (self._stop, "HOST…", "stop the daemon as an administrator would"),
            "restart": (self._restart, "HOST…", "stop it and start it again; several at the same instant"),
            "crash": (self._crash, "HOST…", "power off: processes killed, cables dead"),
            "kill": (self._kill, "HOST…", "SIGKILL to the daemon and all its processes"),
            "pause": (self._pause, "HOST", "freeze the daemon, as a hypervisor does with a guest"),
            "resume": (self._pause, "HOST", "let it go on"),
            "cut": (self._cut, "A B, or A -> B", "nothing passes between two hosts any more, or in one direction"),
            "isolate": (self._isolate, "HOST", "its cables are dead, it goes on"),
            "loss": (self._loss, "HOST 30%", "so much of what it sends and hears is lost"),
            "delay": (self._delay, "HOST 50ms", "what it sends is delayed (netem)"),
            "heal": (self._heal, "", "undo cuts, losses, delays; interfaces up"),
            "link": (self._link, "HOST IFACE up, or down", "an interface up or down"),
            "fail": (self._verdict, "HOST SCRIPT", "the stand-in for this check fails from now on"),
            "mend": (self._verdict, "HOST SCRIPT", "it succeeds again"),
            "switch": (self._switch, "HOST INSTANCE here, or away", "a planned hand-over (holdfast)"),
            "release": (self._switch, "HOST INSTANCE", "the election is free again"),
            "probe": (self._probe, "[VIP]", "ask the address a thousand times a second from now on"),
            "report": (self._report, "[TEXT]", "end the probes: the longest gap, what was lost"),
            "wait": (
                self._wait,
                "HOST STATE, HOST alone, or nobody [within 10s]",
                "wait for it; 1 when it does not come",
            ),
            "expect": (self._expect, "like wait, or gap under 1s, or lost at most N", "it is so now; 1 when it is not"),
            "show": (self._show, "", "hosts, states, who has what"),
            "status": (self._ask, "HOST", "holdfast status, there"),
            "why": (self._ask, "HOST INSTANCE", "holdfast why, there"),
            "who": (self._who, "[VIP]", "who answers for each address"),
            "notes": (self._notes, "HOST", "the notifications its daemon has sent"),
            "log": (self._log, "HOST", "what its daemon said last"),
            "run": (self._run, "HOST COMMAND…", "run a program on the host"),
            "shell": (self._shell, "HOST", "a shell on the host"),
            "watch": (self._watch, "[10s]", "the drawing, live, until Enter or for so long"),
            "sleep": (self._sleep, "2s", "let time pass"),
            "title": (self._title, "TEXT", "a heading"),
            "say": (self._say, "TEXT", "a line"),
            "end": (self._end, "", "stop all daemons and see that nothing is left"),
            "help": (self._help, "[COMMAND]", "this"),
            "quit": (self._quit, "", "end the lab; everything it made is removed"),
        }

    def run(self, line: str) -> None:
        """Do one command; CommandError, NotSoError."""
        line = line.strip()
        if not line or line.startswith("#"):
            return
        verb, _, rest = line.partition(" ")
        if verb not in self.commands:
            near = difflib.get_close_matches(verb, self.commands, 1)
            cure = f"did you mean `{near[0]}`?" if near else "`help` lists them"
            raise CommandError(f"no command {verb!r}: {cure}")
        self._verb = verb
        try:
            words = [rest.strip()] if verb in ("title", "say", "report") else shlex.split(rest, comments=True)
            self.commands[verb][0](words)
        except ValueError as wrong:
            raise CommandError(f"{verb}: {wrong}") from None
        except SiteError as wrong:
            raise CommandError(str(wrong)) from None
        except NotInTimeError as late:
            raise NotSoError(str(late)) from None

    # ---- daemons and hosts ------------------------------------------------------------------------------------------

    def _hosts(self, words: list[str], count: int | None = None) -> list[Router]:
        if not words or (count is not None and len(words) != count):
            raise CommandError(f"write `{self._verb} {self.commands[self._verb][1]}`")
        return [self.site.router(word) for word in words]

    def _start(self, words: list[str]) -> None:
        for router in self._hosts(words):
            self.site.start(router)
            priorities = ", ".join(f"{one.name} priority {one.priority}" for one in router.node.plan.instances)
            self.tell.fact("start", f"host {router.name} starts {router.make}: {priorities}", host=router.name)

    def _stop(self, words: list[str]) -> None:
        for router in self._hosts(words):
            self.site.stop(router)
            left = [text(vip) for vip in router.holds()]
            if left:
                raise NotSoError(f"host {router.name} stopped and still has {', '.join(left)}")
            self.tell.fact("stop", f"host {router.name} has stopped", host=router.name)

    def _restart(self, words: list[str]) -> None:
        routers = self._hosts(words)
        for router in routers:
            self.site.stop(router)
        for router in routers:
            self.site.start(router)
        self.tell.fact("restart", f"restarted: {', '.join(words)}", hosts=words)

    def _crash(self, words: list[str]) -> None:
        for router in self._hosts(words):
            self.site.crash(router)
            self.tell.fact("crash", f"host {router.name} is dead", host=router.name)

    def _kill(self, words: list[str]) -> None:
        for router in self._hosts(words):
            self.site.kill(router)
            self.tell.fact("kill", f"the daemon of host {router.name} is killed", host=router.name)

    def _pause(self, words: list[str]) -> None:
        (router,) = self._hosts(words, 1)
        paused = self._verb == "pause"
        self.site.pause(router, paused)
        self.tell.fact(self._verb, f"host {router.name} {'stands still' if paused else 'goes on'}", host=router.name)

    # ---- the network ------------------------------------------------------------------------------------------------

    def _cut(self, words: list[str]) -> None:
        one_way = "->" in words
        first, second = self._hosts([word for word in words if word != "->"], 2)
        self.site.cut(first, second)
        if not one_way:
            self.site.cut(second, first)
        sign = "->" if one_way else "and"
        self.tell.fact(
            "cut", f"cut: {first.name} {sign} {second.name}", hosts=[first.name, second.name], one_way=one_way
        )

    def _isolate(self, words: list[str]) -> None:
        (router,) = self._hosts(words, 1)
        self.site.isolate(router)
        self.tell.fact("isolate", f"the cables of host {router.name} are dead", host=router.name)

    def _loss(self, words: list[str]) -> None:
        if len(words) != 2 or not re.fullmatch(r"\d+(\.\d+)?%", words[1]) or float(words[1][:-1]) > 100:
            raise CommandError("write `loss HOST 30%`")
        (router,) = self._hosts(words[:1])
        self.site.lose(router, float(words[1][:-1]))
        self.tell.fact("loss", f"{words[1]} of what host {router.name} sends and hears is lost", host=router.name)

    def _delay(self, words: list[str]) -> None:
        if len(words) != 2:
            raise CommandError("write `delay HOST 50ms`")
        (router,) = self._hosts(words[:1])
        self.site.delay(router, seconds(words[1]) * 1000)
        self.tell.fact("delay", f"what host {router.name} sends is delayed by {words[1]}", host=router.name)

    def _heal(self, words: list[str]) -> None:
        self.site.heal()
        self.tell.fact("heal", "the network is whole")

    def _link(self, words: list[str]) -> None:
        if len(words) != 3 or words[2] not in ("up", "down"):
            raise CommandError("write `link HOST IFACE up` or `link HOST IFACE down`")
        (router,) = self._hosts(words[:1])
        self.site.link(router, words[1], words[2] == "up")
        self.tell.fact("link", f"{words[1]} of host {router.name} is {words[2]}", host=router.name)

    # ---- scripts, hand-overs ----------------------------------------------------------------------------------------

    def _verdict(self, words: list[str]) -> None:
        if len(words) != 2:
            raise CommandError(f"write `{self._verb} HOST SCRIPT`")
        (router,) = self._hosts(words[:1])
        router.verdict(words[1], self._verb == "mend")
        what = "succeeds again" if self._verb == "mend" else "fails"
        self.tell.fact(self._verb, f"{words[1]} on host {router.name} {what}", host=router.name, script=words[1])

    def _switch(self, words: list[str]) -> None:
        release = self._verb == "release"
        if len(words) != (2 if release else 3) or (not release and words[2] not in ("here", "away")):
            raise CommandError(f"write `{self._verb} {self.commands[self._verb][1]}`")
        (router,) = self._hosts(words[:1])
        router.instance(words[1])
        how = () if release else (f"--{words[2]}",)
        said = self.site.command(router, self._verb, words[1], *how)
        last = said.strip().splitlines()[-1] if said.strip() else "done"
        self.tell.fact(self._verb, f"host {router.name}: {last}", host=router.name, instance=words[1])

    # ---- measuring --------------------------------------------------------------------------------------------------

    def _probe(self, words: list[str]) -> None:
        self._end_probes()
        wanted = [self._vip(words[0])] if words else self.site.vips()[:8]
        for vip in wanted:
            self.probes[vip] = Probe(self.site.client, text(vip), self.site.client_interface(vip))
        for vip, probe in self.probes.items():
            begun = lambda probe=probe: (seen := probe.now()) is not None and seen.answered > 20  # noqa: E731
            wait_until(begun, PATIENCE_S, f"{text(vip)} answers")

    def _vip(self, word: str) -> Address:
        try:
            wanted = parse(word.partition("/")[0])
        except ValueError as wrong:
            raise CommandError(str(wrong)) from None
        if wanted not in self.site.vips():
            there = ", ".join(map(text, self.site.vips()))
            raise CommandError(f"no file has the virtual address {word}: there are {there}")
        return wanted

    def _end_probes(self) -> dict[Address, Report]:
        found = {vip: probe.finish() for vip, probe in self.probes.items()}
        self.probes.clear()
        return found

    def _report(self, words: list[str]) -> None:
        if not self.probes:
            raise CommandError("no probe runs: begin with `probe`")
        for vip, probe in self.probes.items():

            def answered(probe: Probe = probe) -> bool:
                seen = probe.now()
                return seen is not None and bool(seen.answerers) and seen.answerers[-1].answers > 50

            wait_until(answered, PATIENCE_S, f"{text(vip)} answers on")
        for vip, report in self._end_probes().items():
            self.last = report
            self.reports.append((words[0], text(vip), report))
            about = f"{words[0]}: {text(vip)}" if words[0] else text(vip)
            line = f"{about} gap {span_text(report.outage_ns)}, {report.outage_lost} of {report.sent} probes lost"
            gap_ms = report.outage_ns / 1e6
            self.tell.fact("report", line, vip=text(vip), about=words[0], gap_ms=gap_ms, lost=report.outage_lost)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def _within(self, words: list[str]) -> tuple[list[str], float]:
        if len(words) > 2 and words[-2] == "within":
            return words[:-2], seconds(words[-1])
        return words, PATIENCE_S

    def _condition(self, words: list[str]) -> tuple[Callable[[], bool], str]:
        if words == ["nobody"]:
            return (lambda: not any(self.site.owners().values())), "nobody has an address"
        if len(words) not in (2, 3):
            raise CommandError(f"write `{self._verb} {self.commands[self._verb][1]}`")
        router = self.site.router(words[0])
        if words[1] == "alone":
            return (lambda: self._alone(router)), f"host {router.name} is master: it alone answers"
        if words[1] not in STATES:
            raise CommandError(f"{words[1]!r} is no state: {', '.join(STATES)}, or alone")
        names = [router.instance(words[2]).name] if len(words) == 3 else [c.name for c in router.node.plan.instances]
        what = f"host {router.name} is {words[1]}"

        def holds() -> bool:
            states = router.states()
            return all(states.get(name, "STOP") == words[1] for name in names)

        return holds, what

    def _alone(self, router: Router) -> bool:
        if not router.running:
            said = router.daemon.text()[-2000:] if router.daemon is not None else ""
            raise NotSoError(f"the daemon of host {router.name} has ended\n{said}")
        if any(owners != [router.name] for vip, owners in self.site.owners().items() if vip in router.vips()):
            return False
        return all(answers and answers <= router.macs() for answers in map(self.site.answers, router.vips()))

    def _wait(self, words: list[str]) -> None:
        words, patience = self._within(words)
        condition, what = self._condition(words)
        spent = wait_until(condition, patience, what, step=0.01)
        self.tell.fact("wait", what, seconds=round(spent, 3))

    def _expect(self, words: list[str]) -> None:
        if words[:2] == ["gap", "under"] and len(words) == 3:
            limit = seconds(words[2])
            self._measured(lambda report: report.outage_ns < limit * 1e9, f"the gap is under {words[2]}")
        elif words[:3] == ["lost", "at", "most"] and len(words) == 4:
            most = int(words[3])
            self._measured(lambda report: report.outage_lost <= most, f"at most {most} probes are lost")
        else:
            condition, what = self._condition(words)
            if not condition():
                raise NotSoError(f"not so: {what}\n{self.picture()}")
            self.tell.fact("expect", what)

    def _measured(self, holds: Callable[[Report], bool], what: str) -> None:
        if self.last is None:
            raise CommandError("nothing is measured yet: `probe`, then a fault, then `report`")
        if not holds(self.last):
            gap = span_text(self.last.outage_ns)
            raise NotSoError(f"not so: {what}: the gap was {gap}, {self.last.outage_lost} lost")
        self.tell.fact("expect", what)

    def picture(self) -> str:
        """Hosts, states, addresses, as lines."""
        from holdfast.lab.picture import picture

        return "\n".join(picture(self))

    def _show(self, words: list[str]) -> None:
        self.tell.plain(self.picture())

    def _watch(self, words: list[str]) -> None:
        until = time.monotonic() + (seconds(words[0]) if words else 3600)
        if not sys.stdout.isatty():
            self._show([])
            return
        while time.monotonic() < until:
            sys.stdout.write("\x1b[H\x1b[J" + self.picture() + "\n\nEnter ends this\n")
            sys.stdout.flush()
            if select.select([sys.stdin], [], [], 0.2)[0]:
                sys.stdin.readline()
                return

    def _who(self, words: list[str]) -> None:
        for vip in [self._vip(words[0])] if words else self.site.vips():
            answers = self.site.answers(vip)
            names = [router.name for router in self.site.routers.values() if router.macs() & answers]
            has = self.site.owners()[vip]
            word = ", ".join(sorted(answers)) or "nobody"
            line = f"{text(vip)} is on {', '.join(has) or 'no host'}; {word} answers the client"
            self.tell.fact("who", line, len(has) == 1, vip=text(vip), owners=has, answers=sorted(answers), hosts=names)

    def _ask(self, words: list[str]) -> None:
        if not words:
            raise CommandError(f"write `{self._verb} {self.commands[self._verb][1]}`")
        (router,) = self._hosts(words[:1])
        self.tell.plain(self.site.command(router, self._verb, *words[1:]).rstrip())

    def _notes(self, words: list[str]) -> None:
        (router,) = self._hosts(words, 1)
        self.tell.plain("\n".join(router.notes()) or "none yet")

    def _log(self, words: list[str]) -> None:
        (router,) = self._hosts(words, 1)
        self.tell.plain("\n".join(router.daemon.text().splitlines()[-20:]) if router.daemon else "not started yet")

    def _run(self, words: list[str]) -> None:
        if len(words) < 2:
            raise CommandError("write `run HOST COMMAND…`")
        (router,) = self._hosts(words[:1])
        try:
            said = router.host.run(*words[1:], check=False)
        except FileNotFoundError:
            raise CommandError(f"there is no program {words[1]!r}") from None
        self.tell.plain(said.rstrip())

    def _shell(self, words: list[str]) -> None:
        (router,) = self._hosts(words, 1)
        shell(router)

    # ---- the rest ---------------------------------------------------------------------------------------------------

    def _sleep(self, words: list[str]) -> None:
        if len(words) != 1:
            raise CommandError("write `sleep 2s`")
        time.sleep(seconds(words[0]))

    def _title(self, words: list[str]) -> None:
        self.tell.title(words[0])

    def _say(self, words: list[str]) -> None:
        self.tell.plain(words[0])

    def _end(self, words: list[str]) -> None:
        self._end_probes()
        self.site.stop_all()
        running = [router for router in self.site.routers.values() if router.powered]
        left = [router.name for router in running if router.holds() or router.host.processes()]
        if left:
            raise NotSoError(f"something was left behind on host {', '.join(left)}")
        shown = ", ".join(map(text, self.site.vips()))
        self.tell.fact("end", f"{shown} is on no host, and no process is left")

    def _help(self, words: list[str]) -> None:
        chosen = [word for word in words if word in self.commands] or list(self.commands)
        width = max(len(f"{name} {self.commands[name][1]}") for name in chosen)
        rows = [f"{f'{name} {self.commands[name][1]}':<{width}}  {self.commands[name][2]}" for name in chosen]
        self.tell.plain("\n".join(rows))

    def _quit(self, words: list[str]) -> None:
        self.ended = True
