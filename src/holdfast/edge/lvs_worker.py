"""The lvs worker: makes the checks, keeps the kernel's table. A process of its own, so that no check delays an advert.

The balancer (`engine/balancer.py`) decides; here are its hands: conversations with real servers, programs run by the
supervisor, and the services in the kernel. What fails in the kernel is said and tried again; the checks go on.
"""

import json
import mmap
import os
import time
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.address import text
from holdfast.base.ipvs import Counts, ServiceKey, endpoint_text
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.check.bfd import bfd_outcome
from holdfast.check.config import BfdCheck, Check, FileCheck, MiscCheck, PingCheck, kind_of
from holdfast.check.conversation import Occasion, Outcome
from holdfast.check.file import file_outcome
from holdfast.check.misc import misc_outcome
from holdfast.check.prepare import Asking, Tools, prepare
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.edge.channel import Ask, Channel, HoldServer, Ready, Reload, Reply, Stop, SyncMaster
from holdfast.edge.clock import monotonic_ns, wall_text
from holdfast.edge.connection_sync import ConnectionSync
from holdfast.edge.conversations import Conversations, Talk
from holdfast.edge.loop import Loop
from holdfast.edge.pcre2 import Pcre2Expression
from holdfast.edge.pulse import Pulse
from holdfast.edge.services import BalancerPort, Memory, Services
from holdfast.edge.tls_contexts import TlsContexts
from holdfast.engine.balancer import (
    NO_WEIGHT,
    AbandonCheck,
    Balancer,
    BeginCheck,
    CheckTold,
    Effect,
    PoolsChanged,
    ServiceTold,
)
from holdfast.engine.messages import Leaving, LogLine, RunScript, ScriptFinished, TrackerReported
from holdfast.engine.scripts import outcome as script_words
from holdfast.engine.service_notices import notices, shown
from holdfast.kernel.check_sockets import allow_pings
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import MonitorSocket, NetlinkSocket
from holdfast.kernel.sysctl import Sysctls
from holdfast.lvs.config import VirtualServerConfig
from holdfast.lvs.lines import server_label
from holdfast.track.file import MISSING
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.edge.track_files import FileWatch

HEARTBEAT: Nanoseconds = SECOND
REPAIR_EVERY: Nanoseconds = 5 * SECOND
REPLY_BYTES = 32 * 1024
SCRIPT_NAME = "check "
"""What precedes a check's number in the name of a program's run."""


class LvsWorker:
    """The balancer's hands. `run` returns when the worker is to end."""

    def __init__(
        self, plan: BalancerPlan, loop: Loop, channel: Channel, kernel: BalancerPort, memory: Memory,
        pulse: Pulse | None = None,
    ) -> None:  # fmt: skip
        self.loop = loop
        self.channel = channel
        self.finished = False
        self.leave_services = False
        self.balancer = Balancer(plan, monotonic_ns())
        self.services = Services(kernel, memory)
        self._kernel = kernel
        self._sync = ConnectionSync(kernel)
        self._master = False  # the instance of lvs_sync_daemon is MASTER here
        self._links = NetlinkSocket()
        self._monitor = MonitorSocket(self._links, plan.receive_bytes, plan.receive_forced or not plan.receive_bytes)
        self._conversations = Conversations()
        self._pulse = pulse or Pulse()
        self._repair_at: Nanoseconds | None = None
        contexts = TlsContexts()
        self._tools = Tools(tls_context=contexts.context, expression=Pcre2Expression)
        self._askings: list[Asking | None] = []
        self._unready: dict[int, str] = {}  # checks that can't be made, and why
        self._talks: dict[int, tuple[Talk, int]] = {}  # by check: the conversation under way, and its run
        self._programs: dict[int, int] = {}  # which check a program runs for, by a number of its own
        self._program = 0
        self._sysctls = Sysctls()  # those we changed
        self._files: FileWatch | None = None
        self._values: dict[str, int] = {}  # by track_file
        self._changed_files: set[str] = set()  # whose number is to be acted on
        self._sessions: dict[str, tuple[bool, str]] = {}  # of BFD: up or not, and why

    # ---- running ----------------------------------------------------------------------------------------------------

    def start(
        self, holds: Mapping[tuple[str, str], int] = MappingProxyType({}), *, master: bool = False
    ) -> None:
        """Take the table over, begin every check. KernelRefused when the table can't be read.

        `holds`: operators' weights, by the names of virtual and real server. `master`: see SyncMaster.
        """
        self._master = master
        now = monotonic_ns()
        plan = self.balancer.plan
        effects = self.balancer.begin(now)
        self._prepare()
        effects += self._watch_files()
        for (service, server), weight in holds.items():
            place = self._named(service, server)
            if place is not None:
                effects += self.balancer.hold(*place, weight, now)
        self._say(self.services.begin(self.balancer.wanted(), flush=plan.lvs.flush))
        self._synchronise()
        self._conversations.attach(self.loop)
        self.loop.watch(self._monitor.fileno(), self._addresses_changed)
        self.act([one for one in effects if not isinstance(one, PoolsChanged)], now)
        self._look_where_we_are(now)
        self.channel.put(Ready(len(plan.lvs.services)))
        self.channel.flush()

    def run(self) -> None:
        """Work until told to stop."""
        next_beat = 0
        while not self.finished:
            deadline = self._deadline(next_beat)
            self.loop.wait(deadline)
            if self.finished:  # told to stop: nothing is begun any more
                return
            now = monotonic_ns()
            self._pulse.turned(deadline if next_beat else None, now)
            if now >= next_beat:
                next_beat = now + HEARTBEAT
                self._pulse.beat(now)
            due_at = self.balancer.deadline()
            if due_at is not None and due_at <= now:
                self.act(self.balancer.turn(now), now)
            due_at = self._conversations.due_at()
            if due_at is not None and due_at <= now:
                self._conversations.on_due(now)
            if self._changed_files:
                self.act(self._files_changed(), now)
            if self._repair_at is not None and now >= self._repair_at:
                self._repair_at = None
                self._say(self.services.repair())
            self.channel.flush()

    def _synchronise(self) -> None:
        """`lvs_timeouts` and `lvs_sync_daemon`: ours, while we run."""
        plan = self.balancer.plan.lvs
        for line in self._sync.configure(plan.timeouts, plan.sync_daemon, master=self._master):
            self.channel.put(LogLine(Level.WARNING, line))

    def _role(self, master: bool) -> None:
        """The instance of `lvs_sync_daemon` became MASTER, or is it no longer."""
        if master == self._master:
            return
        self._master = master
        for line in self._sync.role(master):
            self.channel.put(LogLine(Level.WARNING, line))

    def _addresses_changed(self) -> None:
        if self._monitor.read():
            self._look_where_we_are(monotonic_ns())

    def _look_where_we_are(self, now: Nanoseconds) -> None:
        """`ha_suspend`: the checks of a service run while one of its addresses is on this host."""
        asked = [number for number, slot in enumerate(self.balancer.services) if slot.config.ha_suspend]
        if not asked:
            return
        here = {bytes(seen.address) for seen in self._links.dump_addresses()}
        for number in asked:
            keys = self.balancer.services[number].config.keys
            self.act(self.balancer.moved(number, any(key.address in here for key in keys), now), now)

    def _deadline(self, next_beat: Nanoseconds) -> Nanoseconds:
        moments = (next_beat, self.balancer.deadline(), self._conversations.due_at(), self._repair_at)
        return min(at for at in moments if at is not None)

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self.channel.put(LogLine(Level.WARNING, line, "ipvs"))
        if self.services.failing:
            self._repair_at = monotonic_ns() + REPAIR_EVERY

    # ---- effects ----------------------------------------------------------------------------------------------------

    def act(self, effects: list[Effect], now: Nanoseconds) -> None:
        """Carry effects out: the kernel first, then what is told, then new checks."""
        for effect in effects:
            if isinstance(effect, PoolsChanged):
                self._say(self.services.want(self.balancer.wanted(effect.services)))
        for effect in effects:
            if isinstance(effect, ServiceTold | CheckTold):
                self._told(effect)
            elif isinstance(effect, AbandonCheck):
                self._cancel(effect.check)
            elif isinstance(effect, BeginCheck):
                self._begin(effect, now)

    def _begin(self, wanted: BeginCheck, now: Nanoseconds) -> None:
        check = self.balancer.checks[wanted.check].check
        asking = self._askings[wanted.check]
        if isinstance(check, MiscCheck):
            self._program += 1
            self._programs[self._program] = wanted.check
            self.channel.put(RunScript(f"{SCRIPT_NAME}{self._program}", wanted.run, check.command))
        elif asking is not None:
            conversation = asking.stages[wanted.stage](Occasion(os.urandom(16), time.time()))
            told = partial(self._ended, wanted.check, wanted.run)
            talk = self._conversations.start(asking.transport, asking.target, conversation, told, now)
            self._talks[wanted.check] = talk, wanted.run
        else:
            self._ended(wanted.check, wanted.run, self._known(wanted.check, check), now)

    def _known(self, number: int, check: Check) -> Outcome:
        """The outcome of a check that asks nobody."""
        if isinstance(check, FileCheck):
            return file_outcome(check, self._values.get(check.track_file, MISSING))
        if isinstance(check, BfdCheck):
            return bfd_outcome(check, *self._sessions.get(check.name, (None, "")))
        why = self._unready.get(number, "")
        return Outcome(not why, why or "not yet carried out: it counts as passed")

    def _watch_files(self) -> list[Effect]:
        """Watch the files that checks name; what they say now counts at once."""
        files = self.balancer.plan.files
        if self._files is None and files:
            from holdfast.edge.track_files import FileWatch

            self._files = FileWatch(self.loop, self._file_told, self._say_at)
        if self._files is not None:
            self._files.load(files, first=False)
            self._files.tell_all()
        return self._files_changed()

    def _file_told(self, told: TrackerReported) -> None:
        self._values[told.name] = int(told.value)
        self._changed_files.add(told.name)

    def _files_changed(self) -> list[Effect]:
        """What follows from what files say since the last time."""
        names, self._changed_files = self._changed_files, set()

        def outcome_of(check: Check) -> Outcome | None:
            if isinstance(check, FileCheck) and check.track_file in names:
                return file_outcome(check, self._values[check.track_file])
            return None

        return self.balancer.watched(outcome_of, monotonic_ns()) if names else []

    def _session_told(self, told: TrackerReported, now: Nanoseconds) -> None:
        """A BFD session came up or went down."""
        self._sessions[told.name] = bool(told.value), told.detail

        def outcome_of(check: Check) -> Outcome | None:
            mine = isinstance(check, BfdCheck) and check.name == told.name
            return self._known(0, check) if mine else None

        self.act(self.balancer.watched(outcome_of, now), now)

    def _say_at(self, level: Level, text: str) -> None:
        self.channel.put(LogLine(level, text))

    def _ended(self, check: int, run: int, outcome: Outcome, now: Nanoseconds) -> None:
        self._talks.pop(check, None)
        self.act(self.balancer.finished(check, run, outcome, now), now)

    def _cancel(self, check: int) -> None:
        known = self._talks.pop(check, None)
        if known is not None:
            self._conversations.cancel(known[0])

    def _prepare(self) -> None:
        """Make the checks ready; one that can't be is said, and fails from now on."""
        if any(isinstance(slot.check, PingCheck) for slot in self.balancer.checks):
            try:
                allow_pings(self._sysctls, os.getegid())
            except KernelRefused as refused:
                self.channel.put(LogLine(Level.WARNING, f"PING_CHECK: {refused}"))
        self._askings, self._unready = [], {}
        for number, slot in enumerate(self.balancer.checks):
            try:
                self._askings.append(prepare(slot.check, self._tools))
            except (ValueError, ImportError) as wrong:
                missing = f"needs the library {getattr(wrong, 'name', '')}: pip install 'holdfast[lvs]'"
                why = missing if isinstance(wrong, ImportError) else str(wrong)
                self._askings.append(None)
                self._unready[number] = why
                self.channel.put(LogLine(Level.ERROR, f"{kind_of(slot.check)} {shown(slot.check)}: {why}"))

    # ---- telling ----------------------------------------------------------------------------------------------------

    def _told(self, told: ServiceTold | CheckTold) -> None:
        for notice in notices(self.balancer, told):
            self.channel.put(notice)

    # ---- the supervisor ---------------------------------------------------------------------------------------------

    def on_message(self, message: object, fd: int | None) -> None:
        """Something the supervisor says."""
        now = monotonic_ns()
        if isinstance(message, TrackerReported):
            self._session_told(message, now)
        elif isinstance(message, ScriptFinished):
            self._program_ended(message, now)
        elif isinstance(message, Ask):
            self._answer(message, now)
        elif isinstance(message, HoldServer):
            self._hold(message, now)
        elif isinstance(message, SyncMaster):
            self._role(message.master)
        elif isinstance(message, Reload) and fd is not None:
            self._reload(message.size, fd, now)
        elif isinstance(message, Stop):
            self.leave_services = message.keep_addresses
            self.leave("the daemon stops")

    def _program_ended(self, ended: ScriptFinished, now: Nanoseconds) -> None:
        number = self._programs.pop(int(ended.name.removeprefix(SCRIPT_NAME)), None)
        check = None if number is None else self.balancer.checks[number].check
        if number is not None and isinstance(check, MiscCheck):
            words = script_words(ended)
            outcome = misc_outcome(ended.status, ended.timed_out, check.dynamic, NO_WEIGHT, words)
            self.act(self.balancer.finished(number, ended.run, outcome, now), now)

    def _answer(self, asked: Ask, now: Nanoseconds) -> None:
        rows = list(self.balancer.rows(now, wall_text))
        try:
            services = self._kernel.service_counts()
        except KernelRefused:
            services = {}
        for row, slot in zip(rows, self.balancer.services, strict=True):
            self._count(row, slot.config, services)
        octets = json.dumps(rows).encode()
        for start in range(0, len(octets), REPLY_BYTES):
            piece = octets[start : start + REPLY_BYTES]
            self.channel.put(Reply(asked.ask, piece, start + REPLY_BYTES >= len(octets)))

    def _count(self, row: dict[str, Any], config: VirtualServerConfig, services: dict[ServiceKey, Counts]) -> None:
        """The kernel's counts, added up over the service's keys; none when it can't be asked."""
        found: dict[tuple[bytes, int], list[Counts]] = {}
        for key in config.keys:
            try:
                counted = self._kernel.server_counts(key)
            except KernelRefused:
                continue
            for where, counts in counted.items():
                found.setdefault((where.address, where.port), []).append(counts)
        for shown_one, server in zip(row["real_servers"], config.servers, strict=True):
            shown_one["label"] = server_label(config, server)
            shown_one["connections"] = added(found.get((server.address, server.port), ()))
        now_there = added(counts for mine in found.values() for counts in mine)
        since_begun = added(services[key] for key in config.keys if key in services)
        # a service's own counts know of servers that are gone; how many connections there are now only servers know
        row["connections"] = {
            word: now_there[word] if word in ("active", "inactive") else max(now_there[word], since_begun[word])
            for word in now_there
        }

    def _hold(self, asked: HoldServer, now: Nanoseconds) -> None:
        found = self._named(asked.service, asked.server)
        if found is None:
            self._reply(asked.ask, {"error": f"no server {asked.server} in {asked.service}"})
            return
        config = self.balancer.services[found[0]].config
        server = config.servers[found[1]]
        where = server_label(config, server)
        self.act(self.balancer.hold(*found, asked.weight, now), now)
        self._reply(asked.ask, {"held": asked.weight, "service": config.name, "server": where})

    def _named(self, service: str, server: str) -> tuple[int, int] | None:
        """The numbers of a virtual server and of one of its real servers; None when there is no such one."""
        for number, slot in enumerate(self.balancer.services):
            if service not in (slot.config.name, slot.config.label):
                continue
            for place, one in enumerate(slot.config.servers):
                where = server_label(slot.config, one)
                plain = endpoint_text(one.address, one.port or slot.config.keys[0].port)
                if server in (where, plain, text(one.address)):
                    return number, place
        return None

    def _reply(self, ask: int, document: dict[str, object]) -> None:
        self.channel.put(Reply(ask, msgspec.json.encode(document), True))

    def _reload(self, size: int, fd: int, now: Nanoseconds) -> None:
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            octets = bytes(memory)
        os.close(fd)
        plan = msgspec.msgpack.decode(octets, type=BalancerPlan)
        if plan.lvs.backend != self.balancer.plan.lvs.backend:
            self.channel.put(LogLine(Level.WARNING, "lvs_backend changed: that needs a restart; the old one goes on"))
        done = self.balancer.reload(plan, now)
        for check in done.abandoned:
            self._cancel(check)
        self._talks = {done.kept[check]: known for check, known in self._talks.items() if check in done.kept}
        for check, (talk, run) in self._talks.items():
            talk.told = partial(self._ended, check, run)
        programs = self._programs.items()
        self._programs = {number: done.kept[check] for number, check in programs if check in done.kept}
        self._prepare()
        effects = done.effects + self._watch_files()
        self._say(self.services.replace(self.balancer.wanted()))
        self.act([one for one in effects if not isinstance(one, PoolsChanged)], now)
        self._synchronise()
        self._look_where_we_are(now)
        self.channel.put(Ready(len(plan.lvs.services)))

    def leave(self, why: str) -> None:
        """Tell what is to be told, take our services out of the kernel, and end."""
        if self.finished:
            return
        self.act(self.balancer.end(), monotonic_ns())
        self._conversations.close()
        self._sysctls.restore()
        try:
            flush = self.balancer.plan.lvs.flush_on_stop
            self._say(self.services.end(leave=self.leave_services))
            self._say([] if self.leave_services else self._sync.end())
            if flush == "all" and not self.leave_services:
                self._kernel.flush()
        except KernelRefused as refused:
            self.channel.put(LogLine(Level.ERROR, str(refused)))
        self.channel.put(Leaving())
        self.channel.flush()
        self.finished = True


def added(counts: Iterable[Counts]) -> dict[str, int]:
    """Counts added up, under their public names."""
    total = {"active": 0, "inactive": 0, "total": 0, "bytes_in": 0, "bytes_out": 0}
    for one in counts:
        total["active"] += one.active
        total["inactive"] += one.inactive
        total["total"] += one.connections
        total["bytes_in"] += one.bytes_in
        total["bytes_out"] += one.bytes_out
    return total
