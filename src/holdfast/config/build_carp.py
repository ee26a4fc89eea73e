"""One `carp_instance` block to an `InstanceConfig`: read in the manner of `vrrp_instance`, with CARP's own terms."""

import stat

import msgspec

from holdfast.base.problem import Grade
from holdfast.carp.config import CarpTerms, interval_ns
from holdfast.carp.packet import KEY_BYTES
from holdfast.config.build_instance import Draft, InstanceBuilder
from holdfast.config.build_notify import notify_commands
from holdfast.config.context import get
from holdfast.config.findings import Condition
from holdfast.config.tree import Node
from holdfast.vrrp.config import Family, InstanceConfig, NotifyCommands, UnicastPeer

LONGEST = KEY_BYTES - 1
"""How long a password ucarp takes."""

SHORT = 8
"""A password below that is guessed by whoever listens for an hour."""


class CarpBuilder(InstanceBuilder):
    """Makes CARP instances; what is wrong with one is told, and leaves the rest of the configuration alone."""

    def build(self, draft: Draft) -> InstanceConfig | None:
        """The instance; None when it can't be one (told)."""
        settings, name = draft.settings, draft.name
        if not self._complete(draft):
            return None
        family = Family.IPV6 if draft.family == 16 else Family.IPV4
        unicast, group, faults = self._transport(draft, family, False)
        password, broken = self._password(draft)
        terms = CarpTerms(
            advbase=get(settings, "advbase", 1),
            advskew=get(settings, "advskew", 0),
            demotion=get(settings, "demotion", 0),
            dead_ratio=get(settings, "dead_ratio", 3),
            password=password,
            anti_replay="anti_replay" in settings,
            broadcast=self._broadcast(draft, family, unicast),
            neutral="neutral" in settings,
        )
        announce = self.defaults.announce
        if self._has_announce(settings):
            announce = self._announce(settings, announce, False)
        interface = settings["interface"]
        self.context.check_interface(interface, interface.value, f"carp_instance {name}")
        preempt = draft.preempt and "preempt" in settings
        return InstanceConfig(
            name=name,
            vrid=settings["vhid"].value,
            interface=interface.value,
            family=family,
            version=2,
            priority=terms.priority,
            adver_interval_ns=interval_ns(terms, terms.priority),
            addresses=tuple(draft.addresses),
            excluded=tuple(draft.excluded),
            routes=draft.entries.get("virtual_routes", ()),
            rules=draft.entries.get("virtual_rules", ()),
            unicast_peers=self._peers(draft) if unicast else (),
            source=draft.source,
            group=group,
            carp=terms,
            preempt=preempt,
            preempt_delay_ns=self._delay(draft, preempt),
            start_delay_ns=get(settings, "start_delay", 0),
            down_timer_adverts=terms.dead_ratio,
            lower_prio_no_advert="lower_prio_no_advert" in settings,
            higher_prio_send_advert="higher_prio_send_advert" in settings,
            dont_track_primary="dont_track_primary" in settings,
            faults=faults + broken,
            promote_secondaries="promote_secondaries" in settings,
            announce=announce,
            notify=self._scripts(draft),
            notify_priority_changes=self._priority_changes(draft),
        )

    def _complete(self, draft: Draft) -> bool:
        """Whether there is what no CARP instance can be without."""
        aside = "the instance is left aside"
        complete = True
        needed = {"interface": "write interface and its name", "vhid": "write vhid and a number from 1 to 255"}
        for word, cure in needed.items():
            if word not in draft.settings:
                self._tell(draft.node, f"{draft.name}: {word} is missing", cure, aside)
                complete = False
        if complete and draft.settings["interface"].value == "lo":
            self._tell(draft.settings["interface"], f"{draft.name}: CARP can't run on the loopback interface",
                       "name an interface that leads to the other hosts", aside, word=1)  # fmt: skip
            return False
        if not draft.addresses:
            self._tell(draft.node, f"{draft.name}: there is no virtual address", "write virtual_ipaddress { … }",
                       "it runs, and its peers must have none either", grade=Grade.WARNING)  # fmt: skip
        return complete

    def _broadcast(self, draft: Draft, family: Family, unicast: bool) -> bool:
        """Whether adverts leave in broadcast frames; told where that can't be."""
        written = draft.settings.get("broadcast")
        if written is None:
            return False
        if family is Family.IPV6 or unicast:
            why = "IPv6 has no broadcast" if family is Family.IPV6 else "adverts go to unicast_peer"
            self._tell(written, f"{draft.name}: broadcast means nothing here: {why}", "remove it", "it is left aside",
                       grade=Grade.WARNING)  # fmt: skip
            return False
        return True

    def _peers(self, draft: Draft) -> tuple[UnicastPeer, ...]:
        return tuple(UnicastPeer(address=peer.address) for peer in draft.peers)  # the TTL is 255 in any case

    def _delay(self, draft: Draft, preempt: bool) -> int:
        delay: int = get(draft.settings, "preempt_delay", 0)
        if delay and not preempt:
            self._tell(draft.settings["preempt_delay"], f"{draft.name}: preempt_delay means nothing without preempt",
                       "write preempt", "it is left aside", grade=Grade.WARNING)  # fmt: skip
            return 0
        return delay

    def _scripts(self, draft: Draft) -> NotifyCommands:
        lines = draft.notify
        if "shutdown" in draft.settings:
            there = {line.name for line in lines}
            if "notify_backup" not in there:
                self._tell(draft.settings["shutdown"], f"{draft.name}: shutdown without notify_backup",
                           "write notify_backup and the script", "nothing is run", grade=Grade.WARNING)  # fmt: skip
            commands = notify_commands(self.context, lines, draft.settings.get("smtp_alert"))
            if "notify_stop" not in there:
                commands = msgspec.structs.replace(commands, stop=commands.backup)
            return commands
        return notify_commands(self.context, lines, draft.settings.get("smtp_alert"))

    # ---- the password -----------------------------------------------------------------------------------------------

    def _password(self, draft: Draft) -> tuple[bytes, tuple[str, ...]]:
        """The octets, and a fault where there are none: unsigned, nobody would believe us."""
        written, from_file = draft.settings.get("password"), draft.settings.get("key_file")
        fault = "the instance stays in FAULT"
        if written is not None and from_file is not None:
            self._tell(written, f"{draft.name}: password beside key_file", "keep one of the two", "key_file is used")
        if from_file is not None:
            octets = self._from_file(draft, from_file)
            if octets is None:
                return b"", ("key_file can't be used",)
        elif written is not None:
            octets = str(written.value).encode("utf-8", "surrogateescape")
        else:
            cure = "write password, or key_file and a path"
            self._tell(draft.node, f"{draft.name}: there is no password", cure, fault)
            return b"", ("there is no password",)
        node = from_file or written
        assert node is not None
        size = f"{len(octets)} octet{'' if len(octets) == 1 else 's'}"
        if not octets or len(octets) > KEY_BYTES:
            how = "empty" if not octets else f"too long: {size}"
            self._tell(node, f"{draft.name}: the password is {how}", f"use 1 to {LONGEST} characters", fault)
            return b"", (f"the password is {how}",)
        if len(octets) > LONGEST:
            self._tell(node, f"{draft.name}: ucarp takes no password of {size}", f"use at most {LONGEST} characters",
                       "it is used; only BSD and holdfast can have the same", grade=Grade.WARNING)  # fmt: skip
        elif len(octets) < SHORT:
            self._tell(node, f"{draft.name}: the password is short: {size}", f"use {SHORT} to {LONGEST} characters",
                       "it is used", grade=Grade.WARNING, condition=Condition.SECURITY)  # fmt: skip
        return octets, ()

    def _from_file(self, draft: Draft, node: Node) -> bytes | None:
        disk, path = self.context.disk, str(node.value)
        try:
            octets, mode = disk.secret(path), disk.mode(path)
        except OSError as refused:
            self._tell(node, f"{draft.name}: {path}: {refused.strerror or refused}", "make it, or give the right path",
                       "the instance stays in FAULT", word=1)  # fmt: skip
            return None
        if mode & 0o077:
            self._tell(node, f"{draft.name}: others can read or change {path} ({stat.filemode(mode)})",
                       f"chmod 600 {path}", "it is used all the same", grade=Grade.WARNING, word=1,
                       condition=Condition.SECURITY)  # fmt: skip
        return octets.split(b"\n", 1)[0].rstrip(b"\r")
