"""Split brain, put together from what was seen: one open incident an instance, its cause, its cure. Pure.

Evidence comes from three sides: adverts (`SuspicionNotice`), another link-layer address that answers for our address
(`conflict`), and a former master that is alive and yet not heard (`unheard`). Each piece lives for a while; an
incident is open while there is some, and its cause is the most telling one.
"""

from enum import StrEnum

import msgspec

from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.engine.messages import IncidentNotice, StateNotice, SuspicionNotice

RECENT: Nanoseconds = 10 * SECOND
"""How long a start or a stall of ours explains what follows."""

CONFLICT_LIVES: Nanoseconds = 12 * SECOND
UNHEARD_LIVES: Nanoseconds = 40 * SECOND
LONGEST_SILENT: Nanoseconds = 3600 * SECOND
"""A former master not heard for so long is taken for stopped on purpose."""

PERSISTENT = 3
"""A rival heard so often, though we advertise, does not hear us."""

FACTS = 24


class Cause(StrEnum):
    """Why two are master, the most telling first."""

    STRANGER = "stranger"
    PROTOCOL = "protocol"
    PASSWORD = "password"
    CLOCK = "clock"
    REPLAY = "replay"
    AUTHENTICATION = "authentication"
    VERSION = "version"
    INTERVAL = "interval"
    CHECKSUM = "checksum"
    TTL = "ttl"
    TRANSPORT = "transport"
    MALFORMED = "malformed"
    OWNERS = "owners"
    ADDRESS_LIST = "address-list"
    ONE_WAY = "one-way"
    FILTERED = "filtered"
    OWN_STALL = "own-stall"
    BOTH_STARTED = "both-started"
    APART = "apart"
    TWO_OWNERS = "two-owners"
    SILENT_PEER = "silent-peer"


REFUSALS = {
    "auth_failure": Cause.PASSWORD,
    "invalid_authtype": Cause.AUTHENTICATION,
    "authtype_mismatch": Cause.AUTHENTICATION,
    "auth_ext_missing": Cause.AUTHENTICATION,
    "auth_ext_malformed": Cause.AUTHENTICATION,
    "auth_ext_unknown_key": Cause.PASSWORD,
    "auth_ext_invalid_hmac": Cause.PASSWORD,
    "auth_ext_stale": Cause.CLOCK,
    "auth_ext_replay": Cause.REPLAY,
    "ah_replay": Cause.REPLAY,
    "carp_replay": Cause.REPLAY,
    "carp_stale": Cause.CLOCK,
    "carp_on_vrid": Cause.PROTOCOL,
    "vrrp_on_vhid": Cause.PROTOCOL,
    "version_err": Cause.VERSION,
    "advert_interval_err": Cause.INTERVAL,
    "checksum_err": Cause.CHECKSUM,
    "ip_ttl_err": Cause.TTL,
    "destination_err": Cause.TRANSPORT,
    "unicast_src_err": Cause.TRANSPORT,
    "packet_len_err": Cause.MALFORMED,
    "invalid_type_rcvd": Cause.MALFORMED,
}
"""What a refused advert of another master tells, by the check it failed."""

WORDS = {
    Cause.STRANGER: "{who} uses our VRID for other addresses: two groups of routers share one election",
    Cause.PROTOCOL: "{who} has our number in another protocol, CARP beside VRRP: neither hears the other",
    Cause.PASSWORD: "{who} is master too: its adverts are refused, as its password or key is another",
    Cause.CLOCK: "{who} is master too: its adverts are refused, as its clock and ours differ too much",
    Cause.REPLAY: "{who} is master too, or somebody repeats its old adverts: their numbers do not grow",
    Cause.AUTHENTICATION: "{who} is master too: its adverts are refused, as it authenticates in another way",
    Cause.VERSION: "{who} is master too: its adverts are refused, as it speaks another version of VRRP",
    Cause.INTERVAL: "{who} is master too: its adverts are refused, as its interval is another",
    Cause.CHECKSUM: "{who} is master too: its adverts are refused, as their checksum is wrong",
    Cause.TTL: "{who} is master too: its adverts are refused, as their TTL is not 255: they came through a router",
    Cause.TRANSPORT: "{who} is master too: its adverts are refused, as they come from or to the wrong address",
    Cause.MALFORMED: "{who} is master too: its adverts are refused, as they are malformed",
    Cause.OWNERS: "{who} is address owner (priority 255) as we are",
    Cause.ADDRESS_LIST: "{who} is master too and goes on: its list of addresses is another, so it may refuse ours",
    Cause.ONE_WAY: "{who} is master too and goes on advertising: it does not hear us, though we hear it",
    Cause.FILTERED: "{who} was master, fell silent, and still has the address: its adverts are lost on the way",
    Cause.OWN_STALL: "{who} is master too: it took over while this host stood still",
    Cause.BOTH_STARTED: "{who} is master too: both started at the same time",
    Cause.APART: "{who} is master too: the two did not hear each other for a while",
    Cause.TWO_OWNERS: "{who} has the address too, and no advert of it is heard",
    Cause.SILENT_PEER: "{who} was master, fell silent without a farewell, and its host is alive",
}

CURES = {
    Cause.STRANGER: "give one of the two groups another virtual_router_id; `holdfast sniff` shows who speaks",
    Cause.PROTOCOL: "give one of the two another number (virtual_router_id, vhid); `holdfast sniff` shows who speaks",
    Cause.PASSWORD: "make auth_pass (or the auth_hmac keys) the same on both; `holdfast drift` compares the two files",
    Cause.CLOCK: "set both clocks (chronyc tracking, timedatectl); time_window says how far they may differ",
    Cause.REPLAY: "if it was just started it counts on when it hears us; else `holdfast sniff` shows who sends them",
    Cause.AUTHENTICATION: "make auth_type (or auth_hmac) the same on both; `holdfast drift` compares the two files",
    Cause.VERSION: "make `version` (or vrrp_version) the same on both; `holdfast drift` compares the two files",
    Cause.INTERVAL: "make advert_int the same on both (VRRPv2 insists); `holdfast drift` compares the two files",
    Cause.CHECKSUM: "see v3_checksum_as_v2 and old_unicast_checksum, or a network card that spoils checksums",
    Cause.TTL: "no router may stand between the two; for unicast set unicast_ttl, min_ttl and max_ttl on both",
    Cause.TRANSPORT: "both must speak multicast to one group, or name each other in unicast_peer",
    Cause.MALFORMED: "see `holdfast sniff` for who sends them; something changes packets on the way, or is no VRRP",
    Cause.OWNERS: "give one of the two another priority: only one router can own the addresses",
    Cause.ADDRESS_LIST: "make virtual_ipaddress the same on both; `holdfast drift` compares the two files",
    Cause.ONE_WAY: "is protocol 112 let in there (firewall, IGMP snooping)? `holdfast doctor` on that host",
    Cause.FILTERED: "is protocol 112 let through between the two (firewall, IGMP snooping)? `holdfast doctor` on both",
    Cause.OWN_STALL: "find what stopped this host (overload, a paused virtual machine); vrrp_rt_priority helps",
    Cause.BOTH_STARTED: "nothing to do if it is over: vrrp_startup_delay lets a starting host listen first",
    Cause.APART: "look at the link between the two: a switch that restarted, spanning tree, a firewall that changed",
    Cause.TWO_OWNERS: "`ip address` on it: take the address off if nobody should have it; else let its adverts through",
    Cause.SILENT_PEER: "is the daemon there running? if so, its adverts are lost on the way: `holdfast doctor` there",
}

ORDER = {cause: rank for rank, cause in enumerate(Cause)}


class Fact(msgspec.Struct):
    """One piece of evidence: who, since when, how often, and until when it counts."""

    kind: str
    who: str
    reason: str
    stranger: bool
    first_at: Nanoseconds
    expires_at: Nanoseconds
    count: int = 1
    text: str = ""


class IncidentView(msgspec.Struct, frozen=True, kw_only=True):
    """An open incident as `holdfast status --json` shows it; `opened_s_ago` in whole seconds."""

    number: int
    instance: str
    cause: str
    text: str
    cure: str
    count: int
    opened_s_ago: int


class Incident(msgspec.Struct):
    """An open incident."""

    number: int
    cause: Cause
    text: str
    opened_at: Nanoseconds
    count: int = 0


class Instance:
    """What is known of one instance."""

    __slots__ = ("facts", "open", "quiet_ns", "silent", "state")

    def __init__(self, quiet_ns: Nanoseconds) -> None:
        self.quiet_ns = quiet_ns
        self.state = ""
        self.facts: dict[tuple[str, str, str], Fact] = {}
        self.open: Incident | None = None
        self.silent: dict[str, Nanoseconds] = {}  # former masters, and since when they are silent


class Incidents:
    """All instances' incidents; every call gives the notices that follow."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self._told_of: dict[str, Instance] = {}  # those with facts: few, of perhaps thousands
        self.silent: set[str] = set()  # those whose former master fell silent
        self.started_at: Nanoseconds = 0
        self.stalled_at: Nanoseconds | None = None
        self.number = 0
        self.totals: dict[str, int] = {}

    def plan(self, intervals_ns: dict[str, Nanoseconds]) -> None:
        """The instances there are, with their advert intervals; others are forgotten."""
        for name, interval_ns in intervals_ns.items():
            known = self.instances.get(name)
            if known is None:
                known = self.instances[name] = Instance(0)
            known.quiet_ns = max(3 * interval_ns, 3 * SECOND)
        for name in self.instances.keys() - intervals_ns.keys():
            del self.instances[name]
            self._told_of.pop(name, None)
            self.silent.discard(name)

    def begin(self, now: Nanoseconds) -> None:
        """A vrrp worker starts: everything heard before belongs to another life."""
        self.started_at = now
        for instance in self.instances.values():
            instance.state = ""

    def state(self, notice: StateNotice, now: Nanoseconds) -> list[IncidentNotice]:
        """An instance changed state."""
        instance = self.instances.get(notice.name)
        if instance is None or notice.kind != "INSTANCE":
            return []
        instance.state = notice.state
        if notice.state != "MASTER":
            instance.silent.clear()
            self.silent.discard(notice.name)
            kept = {key: fact for key, fact in instance.facts.items() if fact.kind in ("refused", "odd")}
            instance.facts = kept
        return self._weigh(notice.name, instance, now)

    def suspect(self, notice: SuspicionNotice, now: Nanoseconds) -> list[IncidentNotice]:
        """The engine saw something."""
        if notice.kind == "stalled":
            self.stalled_at = now
            return []
        instance = self.instances.get(notice.name)
        if instance is None:
            return []
        if notice.kind == "silent":
            instance.silent[notice.source] = now
            self.silent.add(notice.name)
            return []
        if notice.kind == "rival" and notice.source in instance.silent:
            del instance.silent[notice.source]  # it is heard again
        name, lives, text = notice.name, instance.quiet_ns, notice.text
        self._note(name, instance, notice.kind, notice.source, notice.reason, notice.stranger, lives, now, text)
        return self._weigh(notice.name, instance, now)

    def conflict(self, name: str, vip: str, mac: str, now: Nanoseconds) -> list[IncidentNotice]:
        """Another link-layer address answers for an address of ours."""
        instance = self.instances.get(name)
        if instance is None or instance.state != "MASTER":
            return []
        self._note(name, instance, "conflict", mac, vip, False, CONFLICT_LIVES, now, f"{mac} answers for {vip}")
        return self._weigh(name, instance, now)

    def unheard(self, name: str, peer: str, mac: str, now: Nanoseconds) -> list[IncidentNotice]:
        """A former master that fell silent is alive."""
        instance = self.instances.get(name)
        if instance is None or peer not in instance.silent:
            return []
        if now - instance.silent[peer] > LONGEST_SILENT:
            del instance.silent[peer]
            return []
        self._note(name, instance, "unheard", peer, mac, False, UNHEARD_LIVES, now, f"{peer} is alive at {mac}")
        return self._weigh(name, instance, now)

    def due_at(self) -> Nanoseconds | None:
        """When some evidence ends to count."""
        return min((fact.expires_at for one in self._told_of.values() for fact in one.facts.values()), default=None)

    def on_due(self, now: Nanoseconds) -> list[IncidentNotice]:
        """Forget what is too old; close what is over."""
        found: list[IncidentNotice] = []
        for name, instance in list(self._told_of.items()):
            found += self._weigh(name, instance, now)
            if not instance.facts:
                del self._told_of[name]
        return found

    def view(self, now: Nanoseconds) -> list[IncidentView]:
        """The open ones."""
        return [
            IncidentView(
                number=one.open.number,
                instance=name,
                cause=one.open.cause.value,
                text=one.open.text,
                cure=CURES[one.open.cause],
                count=one.open.count,
                opened_s_ago=(now - one.open.opened_at) // SECOND,
            )
            for name, one in self.instances.items()
            if one.open is not None
        ]

    # ---- weighing ---------------------------------------------------------------------------------------------------

    def _note(
        self, name: str, instance: Instance, kind: str, who: str, reason: str, stranger: bool, lives: Nanoseconds,
        now: Nanoseconds, text: str,
    ) -> None:  # fmt: skip
        self._told_of[name] = instance
        key = (kind, who, reason)
        fact = instance.facts.get(key)
        if fact is not None and fact.expires_at > now:
            fact.count += 1
            fact.expires_at = max(fact.expires_at, now + lives)
            fact.stranger, fact.text = stranger, text
        elif fact is not None or len(instance.facts) < FACTS:
            instance.facts[key] = Fact(kind, who, reason, stranger, now, now + lives, text=text)
        if instance.open is not None:
            instance.open.count += 1

    def _weigh(self, name: str, instance: Instance, now: Nanoseconds) -> list[IncidentNotice]:
        instance.facts = {key: fact for key, fact in instance.facts.items() if fact.expires_at > now}
        facts = list(instance.facts.values())
        started = now - self.started_at < RECENT
        stalled = self.stalled_at is not None and now - self.stalled_at < RECENT
        found = classify(facts, instance.state == "MASTER", started, stalled)
        return self._told(name, instance, found, now)

    def _told(
        self, name: str, instance: Instance, found: tuple[Cause, str] | None, now: Nanoseconds
    ) -> list[IncidentNotice]:
        incident = instance.open
        if found is None:
            if incident is None:
                return []
            instance.open = None
            lasted = span_text((now - incident.opened_at) // SECOND * SECOND)
            over = f"over after {lasted}: " if now - incident.opened_at >= SECOND else "over: "
            how = "only this node is master now" if instance.state == "MASTER" else f"this node is {instance.state} now"
            return [self._notice(name, incident, False, over + how)]
        cause, text = found
        if incident is None:
            self.number += 1
            instance.open = incident = Incident(self.number, cause, text, now, 1)
        elif ORDER[cause] >= ORDER[incident.cause]:
            return []  # nothing more telling than what is known
        else:
            self._count(incident.cause, -1)  # it was counted under what it seemed to be
            incident.cause, incident.text = cause, text
        self._count(cause, 1)
        return [self._notice(name, incident, True, incident.text)]

    def _count(self, cause: Cause, by: int) -> None:
        count = self.totals.pop(cause.value, 0) + by
        if count:
            self.totals[cause.value] = count

    def _notice(self, name: str, incident: Incident, opened: bool, text: str) -> IncidentNotice:
        cure = CURES[incident.cause] if opened else ""
        return IncidentNotice(
            number=incident.number,
            name=name,
            opened=opened,
            cause=incident.cause.value,
            text=text,
            cure=cure,
            count=incident.count,
        )


def classify(facts: list[Fact], master: bool, started: bool, stalled: bool) -> tuple[Cause, str] | None:
    """The most telling cause and its words; None when the facts make no split brain.

    `master`: whether this node is; `started`, `stalled`: whether it was a moment ago.
    """
    found: list[tuple[Cause, Fact]] = []
    odd = {fact.who for fact in facts if fact.kind == "odd" and fact.reason == "addr_list_err"}
    conflicts = {fact.who: fact for fact in facts if fact.kind == "conflict"}
    for fact in facts:
        if fact.stranger and fact.kind in ("refused", "odd", "rival"):
            found.append((Cause.STRANGER, fact))  # whoever is master: the election is spoilt
        elif not master:
            continue
        elif fact.kind == "refused" and fact.reason in REFUSALS:
            found.append((REFUSALS[fact.reason], fact))
        elif fact.kind == "rival":
            found.append((_rival(fact, odd, started, stalled), fact))
        elif fact.kind == "unheard":
            found.append((Cause.FILTERED if fact.reason in conflicts else Cause.SILENT_PEER, fact))
        elif fact.kind == "conflict":
            found.append((Cause.TWO_OWNERS, fact))
    if not found:
        return None
    cause, fact = min(found, key=lambda one: ORDER[one[0]])
    return cause, WORDS[cause].format(who=fact.who) + (f" ({fact.text})" if fact.text else "")


def _rival(fact: Fact, odd: set[str], started: bool, stalled: bool) -> Cause:
    if fact.reason == "owner":
        return Cause.OWNERS
    if fact.count >= PERSISTENT:
        return Cause.ADDRESS_LIST if fact.who in odd else Cause.ONE_WAY
    if stalled:
        return Cause.OWN_STALL
    return Cause.BOTH_STARTED if started else Cause.APART
