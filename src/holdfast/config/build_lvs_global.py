"""The load balancer's lines of `global_defs`."""

from collections.abc import Iterable, Mapping

import msgspec

from holdfast.base.ipvs import Timeouts
from holdfast.config import values
from holdfast.config.context import Context, get
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node
from holdfast.lvs.config import IPVS, LvsPlan, SyncDaemonConfig
from holdfast.vrrp.config import InstanceConfig

_NUMBERS = {"id": (0, 255), "maxlen": (1, 65507), "port": (1, 65535), "ttl": (1, 255)}
_TIMEOUTS = {"tcp": "tcp_s", "tcpfin": "tcp_fin_s", "udp": "udp_s"}
_LONGEST_TIMEOUT_S = 2678400


def read_globals(context: Context, settings: dict[str, Node]) -> LvsPlan:
    """A plan without services. Words that can't be used were told when their line was read."""
    stop = settings.get("lvs_flush_on_stop") or settings.get("lvs_flush_onstop")
    return LvsPlan(
        backend=get(settings, "lvs_backend", IPVS),
        flush="lvs_flush" in settings,
        flush_on_stop="" if stop is None else "VS" if stop.value == "VS" else "all",
        timeouts=_timeouts(settings),
        sync_daemon=_sync_daemon(context, settings),
        init_notifies=get(settings, "rs_init_notifies", False),
        no_checker_emails=get(settings, "no_checker_emails", False),
        smtp_alert=get(settings, "smtp_alert_checker", get(settings, "smtp_alert", None)),
    )


def with_sync_id(
    context: Context, plan: LvsPlan, settings: dict[str, Node], instances: Iterable[InstanceConfig],
    beside: Mapping[str, str],
) -> LvsPlan:  # fmt: skip
    """The plan with the number of its sync daemon: the VRID of the instance it is tied to, unless it has its own.

    `beside`: by instance the interface of its `lvs_sync_daemon_interface`; the first counts, and the global line more.
    """
    daemon = plan.sync_daemon
    if daemon is None and any(beside.values()):
        name = next(name for name, interface in beside.items() if interface)
        daemon = SyncDaemonConfig(interface=beside[name], instance=name)
    if daemon is None or not daemon.instance:
        return plan
    tied = next((one for one in instances if one.name == daemon.instance), None)
    if tied is None:
        what = f"lvs_sync_daemon names the instance {daemon.instance}, which does not run"
        context.tell(settings["lvs_sync_daemon"], Trouble(what, "name a vrrp_instance", "it only listens",
                                                          condition=Condition.NONE), domain="lvs")  # fmt: skip
    elif daemon.sync_id is None:
        daemon = msgspec.structs.replace(daemon, sync_id=tied.vrid)
    return msgspec.structs.replace(plan, sync_daemon=daemon)


def _number(word: str, low: int, high: int) -> int | None:
    if not (word.isdecimal() and word.isascii() and len(word) <= 10):
        return None
    return int(word) if low <= int(word) <= high else None


def _timeouts(settings: dict[str, Node]) -> Timeouts | None:
    line = settings.get("lvs_timeouts")
    if line is None:
        return None
    words: tuple[str, ...] = line.value
    found = {
        _TIMEOUTS[name]: seconds
        for name, word in zip(words[::2], words[1::2], strict=False)
        if name in _TIMEOUTS and (seconds := _number(word, 0, _LONGEST_TIMEOUT_S)) is not None
    }
    return Timeouts(**found) if found else None


def _sync_daemon(context: Context, settings: dict[str, Node]) -> SyncDaemonConfig | None:
    """`IF [[inst] VRRP] [id N] [maxlen N] [port N] [ttl N] [group IP]`, or as it once was, `IF INST ID`."""
    line = settings.get("lvs_sync_daemon")
    if line is None or line.value is values.INVALID:  # of those that are kept once, the first counts, usable or not
        return None
    words: tuple[str, ...] = line.value
    instance, group = "", None
    numbers: dict[str, int] = {}
    position = 1
    while position < len(words):
        word = words[position]
        if word in ("inst", "group", *_NUMBERS) and position + 1 < len(words):
            position += 1
            if word == "inst":
                instance = words[position]
            elif word == "group":
                try:
                    group = values.parse_address(words[position])
                except ValueError:
                    pass  # told when the line was read
            elif (number := _number(words[position], *_NUMBERS[word])) is not None:
                numbers[word] = number
        elif position == 1:
            instance = word
        elif position == 2 and (number := _number(word, 0, 255)) is not None:
            numbers["id"] = number
        position += 1
    if len(words[0].encode("utf-8", "surrogateescape")) > 15:
        trouble = Trouble(f"{words[0]!r} can't be the name of an interface", "names have 1 to 15 characters",
                          "connections are not synchronised", word=1)  # fmt: skip
        context.tell(line, trouble, domain="lvs")
        return None
    return SyncDaemonConfig(
        interface=words[0],
        instance=instance,
        sync_id=numbers.get("id"),
        max_bytes=numbers.get("maxlen", 0),
        port=numbers.get("port", 0),
        ttl=numbers.get("ttl", 0),
        group=group,
    )
