"""One `vrrp_instance` block to an `InstanceConfig`: defaults, corrections, and what makes it impossible."""

import msgspec

from holdfast.base.address import Address, is_link_local, is_multicast, text
from holdfast.base.problem import Grade
from holdfast.base.time import CENTISECOND, SECOND
from holdfast.config import values
from holdfast.config.build_auth import Asked, Authentication, read_authentication
from holdfast.config.build_global import Defaults, extra_interfaces
from holdfast.config.build_notify import notify_commands
from holdfast.config.build_routes import RouteReader
from holdfast.config.build_tracking import BLOCKS, Trackers
from holdfast.config.context import Context, entries, get
from holdfast.config.findings import Condition, Trouble
from holdfast.config.lines import read_address, read_peer
from holdfast.config.plan import Settings
from holdfast.config.tree import Node
from holdfast.vrrp.config import (
    OWNER,
    AnnounceConfig,
    AuthType,
    Family,
    InstanceConfig,
    OldChecksum,
    TrackedUse,
    UnicastPeer,
    VirtualAddress,
)
from holdfast.vrrp.routes import RouteEntry

LONGEST_V3 = 4095 * CENTISECOND
"""The longest advert interval 12 bits of centiseconds can tell (RFC 9568 §5.2.7)."""


class Draft:
    """An instance while it is being put together."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.name: str = node.value
        self.settings: dict[str, Node] = {}
        self.blocks: list[Node] = []
        self.notify: list[Node] = []
        self.master = False
        self.preempt = True
        self.accept: bool | None = None
        self.family = 0  # 4 or 16 octets an address; 0: not known yet
        self.addresses: list[VirtualAddress] = []
        self.excluded: list[VirtualAddress] = []
        self.peers: list[UnicastPeer] = []
        self.source: Address | None = None
        self.uses: list[tuple[TrackedUse, Node]] = []
        self.auth: dict[str, Node] = {}
        self.hmac: Node | None = None
        self.entries: dict[str, tuple[RouteEntry, ...]] = {}  # virtual_routes, virtual_rules
        self.refused = False


class InstanceBuilder:
    """Makes instances; `reasons` that make the whole configuration unusable are told with `refuses`."""

    def __init__(
        self, context: Context, settings: Settings, defaults: Defaults, trackers: Trackers, routes: RouteReader
    ) -> None:
        self.context = context
        self.routes = routes
        self.settings = settings
        self.defaults = defaults
        self.trackers = trackers

    # -- reading the lines ------------------------------------------------------------------------------------------

    def draft(self, node: Node, order: int) -> Draft:
        """The lines of the block, gathered; families settle in the order they are written, as in the reference."""
        draft = Draft(node)
        settings = draft.settings
        for line in node.children or []:
            name = line.line.keyword.name
            if line.children is not None:
                self._block(draft, line, name, order)
            elif line.line.value is values.INVALID:
                if name == "priority":  # the reference takes 100, whatever stands elsewhere
                    settings["bad_priority"] = line
            elif name.startswith("notify"):
                draft.notify.append(line)
            elif name == "state":
                self._state(draft, line)
            elif name in ("preempt", "nopreempt"):
                draft.preempt = name == "preempt"
                settings[name] = line
            elif name in ("accept", "no_accept"):
                draft.accept = name == "accept"
                settings[name] = line
            elif name in ("mcast_src_ip", "unicast_src_ip"):
                self._source(draft, line)
                settings[name] = line
            elif name == "native_ipv6":
                draft.family = draft.family or 16
            else:
                settings[name] = line
        return draft

    def _state(self, draft: Draft, line: Node) -> None:
        draft.settings["state"] = line
        if line.value == "MASTER":
            draft.master = True
        elif draft.master:
            what = "state BACKUP after state MASTER"
            self._tell(line, what, "keep one", "MASTER stays, as in keepalived", grade=Grade.WARNING)

    def _source(self, draft: Draft, line: Node) -> None:
        if draft.family and len(line.value) != draft.family:
            self._tell(
                line,
                f"{line.line.words[1]} is not of the family of {draft.name}",
                f"use an IPv{'4' if draft.family == 4 else '6'} address",
                "the line is left aside",
                word=1,
            )
            return
        draft.family = len(line.value)
        draft.source = line.value

    def _block(self, draft: Draft, block: Node, name: str, order: int) -> None:
        if name == "virtual_ipaddress":
            self._addresses(draft, block)
        elif name == "virtual_ipaddress_excluded":
            for entry in entries(block):
                address = read_address(entry.line.words, self.context.teller(entry))
                self._add_address(draft, draft.excluded, address, entry)
        elif name in ("virtual_routes", "virtual_rules"):
            draft.entries[name] = draft.entries.get(name, ()) + self.routes.read(block)
        elif name in BLOCKS:
            draft.uses += self._without_own(draft, self.trackers.uses(block, draft.name, order))
        elif name == "unicast_peer":
            draft.settings["unicast_peer"] = block
            for entry in entries(block):
                self._peer(draft, entry)
        elif name == "auth_hmac":
            draft.hmac = block
        elif name == "authentication":
            draft.settings["authentication"] = block
            for line in block.children or []:
                if line.line.value is not values.INVALID:
                    draft.auth[line.name] = line

    def _addresses(self, draft: Draft, block: Node) -> None:
        for entry in entries(block):
            address = read_address(entry.line.words, self.context.teller(entry))
            if address is None:
                continue
            if draft.family and len(address.address) != draft.family:
                written = entry.line.words[0]
                self._tell(
                    entry,
                    f"{written} is not of the family of {draft.name}",
                    "put it into virtual_ipaddress_excluded, or make an instance for it",
                    "the line is left aside",
                    phrase=f"({draft.name}): address family must match VRRP instance [{written}] - ignoring",
                )
                continue
            draft.family = len(address.address)
            self._add_address(draft, draft.addresses, address, entry)

    def _add_address(
        self, draft: Draft, into: list[VirtualAddress], address: VirtualAddress | None, entry: Node
    ) -> None:
        if address is None:
            return
        if address.interface is not None:
            self.context.check_interface(entry, address.interface, f"ip address {entry.line.words[0]}")
        if address in into:
            self._tell(entry, f"{entry.line.words[0]} stands here twice", "keep one", "the second is left aside")
            return
        into.append(address)

    def _peer(self, draft: Draft, entry: Node) -> None:
        peer = read_peer(entry.line.words, self.context.teller(entry))
        if peer is None:
            return
        if draft.family and len(peer.address) != draft.family:
            self._tell(
                entry,
                f"{entry.line.words[0]} is not of the family of {draft.name}",
                f"use an IPv{'4' if draft.family == 4 else '6'} address",
                "the line is left aside",
            )
            return
        draft.family = len(peer.address)
        draft.peers.append(peer)

    def _without_own(self, draft: Draft, uses: list[tuple[TrackedUse, Node]]) -> list[tuple[TrackedUse, Node]]:
        own = get(draft.settings, "interface", "")
        kept = []
        for use, node in uses:
            if use.kind == "interface" and use.name == own and "dont_track_primary" not in draft.settings:
                self._tell(
                    node,
                    f"{own} is tracked anyway, it is the interface of {draft.name}",
                    "remove the line",
                    "the line is left aside",
                    grade=Grade.ADVICE,
                    phrase=f"({draft.name}) Ignoring track_interface {own} since own interface",
                )
                continue
            kept.append((use, node))
        return kept

    # -- corrections ------------------------------------------------------------------------------------------------

    def _tell(
        self,
        node: Node,
        what: str,
        cure: str,
        meanwhile: str,
        *,
        grade: Grade = Grade.ERROR,
        word: int = 0,
        phrase: str = "",
        condition: Condition = Condition.GENERAL,
        refuses: bool = False,
    ) -> None:
        trouble = Trouble(what, cure, meanwhile, grade, word, condition, phrase)
        self.context.tell(node, trouble, refuses=refuses)

    def _refuse(self, draft: Draft, what: str, cure: str, node: Node | None = None, phrase: str = "") -> None:
        draft.refused = True
        self._tell(
            node or draft.node,
            f"{draft.name}: {what}",
            cure,
            "nothing can run, as in keepalived",
            phrase=phrase,
            refuses=True,
        )

    def build(self, draft: Draft) -> InstanceConfig | None:
        """The instance, every default settled; None when it makes the configuration unusable (told)."""
        settings, defaults = draft.settings, self.defaults
        family = Family.IPV6 if draft.family == 16 else Family.IPV4
        strict = get(settings, "strict_mode", defaults.strict)
        version = self._version(draft, family, strict)
        priority = self._priority(draft, strict)
        unicast, group, faults = self._transport(draft, family, strict)
        interface = self._interface(draft, unicast)
        vrid = get(settings, "virtual_router_id", 0)
        if not vrid:
            cure = "write virtual_router_id and a number from 1 to 255"
            phrase = f"({draft.name}) the virtual router id must be set"
            self._refuse(draft, "virtual_router_id is missing", cure, phrase=phrase)
        self._check_addresses(draft, version, strict)
        preempt, preempt_delay = self._preemption(draft, priority, strict)
        interval_ns = self._interval(draft, version)
        authentication = self._authentication(draft, version, family, strict, priority, interval_ns)
        explicit_backup = "state" in settings and not draft.master
        if draft.refused:
            return None
        own = self.defaults.announce
        announce = self._announce(settings, own, strict) if self._has_announce(settings) or strict else own
        return InstanceConfig(
            name=draft.name,
            vrid=vrid,
            interface=interface,
            family=family,
            version=version,
            priority=priority,
            state_master=draft.master
            and (priority == OWNER or not (strict or authentication.auth_type is AuthType.AH)),
            starts_as_owner=priority == OWNER and not explicit_backup,
            adver_interval_ns=interval_ns,
            addresses=tuple(draft.addresses),
            excluded=tuple(draft.excluded),
            routes=draft.entries.get("virtual_routes", ()),
            rules=draft.entries.get("virtual_rules", ()),
            unicast_peers=tuple(draft.peers) if unicast else (),
            source=draft.source,
            track_source="track_src_ip" in settings,
            group=group,
            unicast_ttl=get(settings, "unicast_ttl", None) if unicast else None,
            check_unicast_source=self._checks_source(draft),
            auth_type=authentication.auth_type,
            auth_pass=authentication.auth_pass,
            auth_hmac=authentication.auth_hmac,
            checksum_as_v2=get(settings, "v3_checksum_as_v2", defaults.checksum_as_v2),
            old_checksum=self._old_checksum(settings),
            receive_buffer_bytes=get(settings, "kernel_rx_buf_size", None),
            preempt=preempt,
            preempt_delay_ns=preempt_delay,
            start_delay_ns=get(settings, "start_delay", 0),
            resign_skew=get(settings, "resign_skew", False),
            down_timer_adverts=3 if strict else get(settings, "down_timer_adverts", defaults.down_timer_adverts),
            lower_prio_no_advert=strict or get(settings, "lower_prio_no_advert", defaults.lower_prio_no_advert),
            higher_prio_send_advert=not strict
            and get(settings, "higher_prio_send_advert", defaults.higher_prio_send_advert),
            owner_ignore_adverts=self._owner_ignores(settings, priority, strict),
            timer_expired_backup=self._timer_expired(draft, preempt),
            strict=strict,
            skip_check_adv_addr="skip_check_adv_addr" in settings or defaults.skip_check_adv_addr,
            accept=self._accept(draft, version, priority, strict),
            dont_track_primary="dont_track_primary" in settings,
            faults=faults + authentication.faults,
            promote_secondaries="promote_secondaries" in settings,
            announce=announce,
            notify=notify_commands(self.context, draft.notify, settings.get("smtp_alert")),
            notify_priority_changes=self._priority_changes(draft),
        )

    def _version(self, draft: Draft, family: Family, strict: bool) -> int:
        version: int = get(draft.settings, "version", self.defaults.version)
        if family is Family.IPV6:
            if version == 2 and "version" in draft.settings:
                self._tell(
                    draft.settings["version"],
                    f"{draft.name}: IPv6 has no VRRP version 2",
                    "write version 3",
                    "3 is taken",
                    grade=Grade.ERROR if strict else Grade.WARNING,
                    phrase=f"({draft.name}) VRRP version 2 does not support IPv6",
                )
            return 3
        return version

    def _priority(self, draft: Draft, strict: bool) -> int:
        node = draft.settings.get("priority")
        if node is not None:
            priority: int = node.value
        elif "bad_priority" in draft.settings or not draft.master:
            priority = 100
        else:
            priority = OWNER
        if strict and draft.master and priority != OWNER:
            self._tell(
                draft.settings["state"],
                f"{draft.name}: in strict mode only an address owner (priority 255) has state MASTER",
                "write state BACKUP",
                "BACKUP is taken",
                grade=Grade.WARNING,
                phrase=f"({draft.name}) State MASTER must match being address owner",
            )
        return priority

    def _transport(
        self, draft: Draft, family: Family, strict: bool
    ) -> tuple[bool, Address | None, tuple[str, ...]]:
        """Whether it is unicast, else the group, and faults that can't go away."""
        settings = draft.settings
        if draft.peers:
            if "mcast_dst_ip" in settings:
                self._tell(settings["mcast_dst_ip"], "mcast_dst_ip with unicast_peer means nothing", "remove it",
                           "it is left aside", grade=Grade.WARNING)  # fmt: skip
            if strict and "interface" in settings:
                cure = "remove unicast_peer or strict_mode"
                self._refuse(draft, "strict mode knows no unicast peers", cure, settings.get("unicast_peer"))
            return True, None, ()
        group = self.settings.group4 if family is Family.IPV4 else self.settings.group6
        chosen = settings.get("mcast_dst_ip")
        if chosen is not None:
            if len(chosen.value) == len(group) and is_multicast(chosen.value):
                group = chosen.value
            else:
                self._tell(chosen, f"{chosen.line.words[1]} is not a multicast address of the family of {draft.name}",
                           "use one of 224.0.0.0/24 or ff02::/16", "the global group is used", word=1)  # fmt: skip
        words = [name for name in ("unicast_src_ip", "unicast_peer", "check_unicast_src") if name in settings]
        if words and "unicast_fault_no_peer" in settings:
            self._tell(settings["unicast_fault_no_peer"], f"{draft.name} is unicast, and has no unicast_peer",
                       "list the peers", "it stays in FAULT", grade=Grade.WARNING)  # fmt: skip
            return False, group, ("unicast without peers",)
        if words:
            self._tell(
                settings[words[0]],
                f"{draft.name}: {words[0]} without any unicast_peer",
                "list the peers, or remove it",
                "multicast is used",
                grade=Grade.WARNING,
                phrase=f"({draft.name}) A unicast keyword has been specified without any unicast peers. "
                "Defaulting to multicast. This usage is deprecated - please update your configuration.",
                condition=Condition.DEPRECATED,
            )
        if "unicast_ttl" in settings:
            self._tell(settings["unicast_ttl"], f"{draft.name}: unicast_ttl without unicast peers", "remove it",
                       "it is left aside", grade=Grade.WARNING)  # fmt: skip
        return False, group, ()

    def _interface(self, draft: Draft, unicast: bool) -> str:
        node = draft.settings.get("interface")
        if node is None:
            source = draft.source
            if unicast and "vrf" in draft.settings:
                return str(draft.settings["vrf"].value)  # the routing domain's own interface
            if unicast and source is not None and not is_link_local(source):
                return ""
            if unicast:
                what = "unicast without interface needs unicast_src_ip" + (
                    "" if source is None else ", and not a link-local one"
                )
                self._refuse(draft, what, "write interface or unicast_src_ip")
            else:
                cure = "write interface and its name"
                self._refuse(draft, "interface is missing", cure, phrase=f"({draft.name}) Unknown interface!")
            return ""
        if "vrf" in draft.settings:
            self._tell(draft.settings["vrf"], f"{draft.name}: vrf is for unicast without interface", "remove it",
                       f"the routing domain of {node.value} is used", grade=Grade.ADVICE)  # fmt: skip
        if node.value == "lo":
            self._refuse(
                draft,
                "VRRP can't run on the loopback interface",
                "name an interface that leads to the other routers",
                node,
                f"({draft.name}) cannot use a loopback interface (lo) for vrrp - ignoring",
            )
        self.context.check_interface(node, node.value, f"vrrp_instance {draft.name}")
        return str(node.value)

    def _check_addresses(self, draft: Draft, version: int, strict: bool) -> None:
        where = draft.settings.get("no_virtual_ipaddress")
        if draft.addresses:
            first = draft.addresses[0].address
            if strict and len(first) == 16 and not is_link_local(first):
                self._refuse(
                    draft,
                    f"in strict mode the first IPv6 address must be link-local, {text(first)} is not",
                    "put a fe80:: address first, or remove strict mode",
                    phrase=f"({draft.name}) the first IPv6 VIP address must be link local",
                )
            return
        if strict or (version == 3 and where is None):
            self._refuse(
                draft,
                "there is no virtual address",
                "list one in virtual_ipaddress" + ("" if strict else ", or say no_virtual_ipaddress"),
                phrase=f"({draft.name}) No VIP specified; at least one is required",
            )
        elif where is None:
            self._tell(
                draft.node,
                f"{draft.name} has no virtual address to tell in its adverts",
                "list one in virtual_ipaddress, or say no_virtual_ipaddress",
                "it runs all the same",
                grade=Grade.WARNING if not draft.excluded else Grade.ADVICE,
                word=1,
                phrase=f"({draft.name}) No VIP specified; at least one is sensible",
            )

    def _preemption(self, draft: Draft, priority: int, strict: bool) -> tuple[bool, int]:
        settings, preempt = draft.settings, draft.preempt
        if not preempt and (draft.master or priority == OWNER):
            why = "priority 255" if priority == OWNER and not draft.master else "state MASTER"
            self._tell(
                settings["nopreempt"],
                f"{draft.name}: nopreempt means nothing with {why}",
                "write state BACKUP",
                "nopreempt is left aside",
                grade=Grade.WARNING,
                phrase=f"({draft.name}) Warning - nopreempt will not work with initial {why} - clearing",
            )
            preempt = True
        delay: int = get(settings, "preempt_delay", 0)
        if delay and (strict or not preempt or draft.master):
            why = "strict mode" if strict else "nopreempt" if not preempt else "state MASTER"
            self._tell(
                settings["preempt_delay"],
                f"{draft.name}: preempt_delay means nothing with {why}",
                "write state BACKUP" if draft.master else "remove one of them",
                "it is left aside",
                grade=Grade.WARNING,
                phrase=f"({draft.name}) Warning - preempt delay will not work with {why} - clearing",
            )
            delay = 0
        return preempt, delay

    def _interval(self, draft: Draft, version: int) -> int:
        node = draft.settings.get("advert_int")
        interval: int = SECOND if node is None else node.value
        if version == 2 and interval % SECOND:
            rounded = max(SECOND, (interval + SECOND // 2) // SECOND * SECOND)
            self._note_interval(node, draft.name, "VRRPv2 counts whole seconds", rounded)
            return rounded
        if version == 3 and interval > LONGEST_V3:
            self._note_interval(node, draft.name, "VRRPv3 can't tell more than 40.95 s", LONGEST_V3)
            return LONGEST_V3
        return interval

    def _note_interval(self, node: Node | None, name: str, why: str, taken: int) -> None:
        assert node is not None
        self._tell(
            node,
            f"{name}: advert_int {node.line.words[1]}: {why}",
            "the other routers must have the same",
            f"{taken / SECOND:g} s is taken",
            grade=Grade.WARNING,
            word=1,
        )

    def _authentication(
        self, draft: Draft, version: int, family: Family, strict: bool, priority: int, interval_ns: int
    ) -> Authentication:
        asked = Asked(
            name=draft.name,
            block=draft.settings.get("authentication"),
            lines=draft.auth,
            hmac=draft.hmac,
            version=version,
            ipv6=family is Family.IPV6,
            strict=strict,
            starts_as_master=draft.master and priority != OWNER,
            interval_ns=interval_ns,
        )
        return read_authentication(asked, self.context)

    def _checks_source(self, draft: Draft) -> bool:
        bounded = any(peer.min_ttl is not None or peer.max_ttl is not None for peer in draft.peers)
        return bounded or "check_unicast_src" in draft.settings or self.defaults.check_unicast_source

    @staticmethod
    def _old_checksum(settings: dict[str, Node]) -> OldChecksum:
        node = settings.get("old_unicast_checksum")
        if node is None:
            return OldChecksum.AUTO
        return OldChecksum.NEVER if node.value == "never" else OldChecksum.ALWAYS

    def _owner_ignores(self, settings: dict[str, Node], priority: int, strict: bool) -> bool:
        chosen = get(settings, "owner_ignore_adverts", self.defaults.owner_ignore_adverts)
        if chosen is None:
            return strict and priority == OWNER
        return bool(chosen)

    def _timer_expired(self, draft: Draft, preempt: bool) -> int:
        node = draft.settings.get("timer_expired_backup") or draft.settings.get("thread_timer_expired")
        if node is None:
            return 0
        if preempt:
            self._tell(node, f"{draft.name}: {node.name} needs nopreempt", "add nopreempt", "it is left aside")
            return 0
        return 254 if node.value is None else int(node.value)

    def _accept(self, draft: Draft, version: int, priority: int, strict: bool) -> bool:
        if not strict:
            return draft.accept is not False
        if draft.accept and version == 2:
            self._tell(draft.settings["accept"], f"{draft.name}: strict mode of version 2 has no accept", "remove it",
                       "it is left aside", grade=Grade.WARNING)  # fmt: skip
            return priority == OWNER
        return priority == OWNER if draft.accept is None else draft.accept

    def _priority_changes(self, draft: Draft) -> bool:
        for node in reversed(draft.notify):
            if node.name == "notify_priority_changes":
                return bool(node.value)
        return self.defaults.notify_priority_changes

    @staticmethod
    def _has_announce(settings: dict[str, Node]) -> bool:
        return any(name.startswith(("garp_", "vmac_garp_")) for name in settings)

    def _announce(self, settings: dict[str, Node], base: AnnounceConfig, strict: bool) -> AnnounceConfig:
        return msgspec.structs.replace(
            base,
            master_delay_ns=get(settings, "garp_master_delay", base.master_delay_ns),
            master_repeat=get(settings, "garp_master_repeat", base.master_repeat),
            master_refresh_ns=get(settings, "garp_master_refresh", base.master_refresh_ns),
            master_refresh_repeat=get(settings, "garp_master_refresh_repeat", base.master_refresh_repeat),
            lower_prio_delay_ns=0 if strict else get(settings, "garp_lower_prio_delay", base.lower_prio_delay_ns),
            lower_prio_repeat=0 if strict else get(settings, "garp_lower_prio_repeat", base.lower_prio_repeat),
            **extra_interfaces(settings, "garp_extra_if", "vmac_garp_intvl"),
        )
