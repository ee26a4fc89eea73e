"""Why a virtual server or one of its real servers is as it is, and what would change that: from `status` alone.

Pure, like `why.py` beside it: rows of `virtual_servers` go in, a tree of reasons comes out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.base.time import SECOND, span_text
from holdfast.engine.why import Explanation, Reason

HISTORY = 8
"""At most so many events tell what led here."""

Row = Mapping[str, Any]


def names_of(service: Row) -> tuple[str, str]:
    """What a virtual server may be called."""
    return str(service["name"]), str(service.get("label", ""))


def server_names(server: Row) -> tuple[str, ...]:
    """What a real server may be called: `10.0.0.7`, `10.0.0.7:80`, `[2001:db8::7]:80`, its label."""
    address, port = str(server["address"]), server["port"]
    shown = f"[{address}]" if ":" in address else address
    return address, f"{shown}:{port}", str(server.get("label", ""))


def explain_service(service: Row, events: Sequence[Row]) -> Explanation:
    """A virtual server: whether it has its quorum, and what would change it."""
    reasons = [_weights(service)]
    sorry = service.get("sorry_server")
    if sorry and sorry["active"]:
        text = f"the sorry server {_endpoint(sorry)} serves instead of all others"
        reasons.append(Reason("sorry-server", text))
    if service.get("suspended"):
        reasons.append(Reason("suspended", "its checks rest: its address is not on this host (ha_suspend)"))
    return Explanation(
        name=str(service["name"]),
        state="UP" if service["quorum_met"] else "DOWN",
        since=_since(service, events),
        summary=reasons[0].text,
        reasons=tuple(reasons),
        against=(),
        changes=tuple(_quorum_changes(service)),
        warnings=tuple(_faults_of_checks(one for server in service["real_servers"] for one in server["checks"])),
        history=_history(service, "", events),
    )


def explain_server(service: Row, server: Row, events: Sequence[Row]) -> Explanation:
    """A real server: whether and why it gets connections, and what would change it."""
    reasons = list(_server_reasons(service, server))
    return Explanation(
        name=f"{_endpoint(server)} of {service['name']}",
        state=str(server["state"]).upper(),
        since=_since(service, events, str(server.get("label"))),
        summary=reasons[0].text,
        reasons=tuple(reasons),
        against=(),
        changes=tuple(_server_changes(service, server)),
        warnings=tuple(_faults_of_checks(server["checks"])),
        history=_history(service, str(server.get("label")), events),
    )


# ---- a virtual server -----------------------------------------------------------------------------------------------


def _keeps(service: Row) -> int:
    """The least weight that keeps the quorum."""
    return max(int(service["quorum"]) - int(service.get("hysteresis", 0)), 1)


def _gains(service: Row) -> int:
    return int(service["quorum"]) + int(service.get("hysteresis", 0))


def _weights(service: Row) -> Reason:
    live = int(service.get("live_weight", 0))
    met = service["quorum_met"]
    need = f"at least {_keeps(service)} keep it" if met else f"{_gains(service)} would gain it"
    because = tuple(
        Reason(
            f"server-{one['state']}",
            f"{_endpoint(one)} is {one['state']}" + (f", weight {one['effective_weight']}" if one["alive"] else ""),
            tuple(Reason("check-failed", _said(check)) for check in one["checks"] if check["ok"] is False),
        )
        for one in service["real_servers"]
    )
    return Reason("quorum", f"quorum {'met' if met else 'lost'}: weight {live} is alive, {need}", because)


def _quorum_changes(service: Row) -> Iterator[Reason]:
    servers, live = service["real_servers"], int(service.get("live_weight", 0))
    if service["quorum_met"]:
        alone = [one for one in servers if one["alive"] and not 0 < _keeps(service) <= live - _weight(one)]
        for one in alone:
            left = live - _weight(one)
            text = f"if {_endpoint(one)} fails: weight {left} is left, the quorum is lost"
            yield Reason("would-lose", text + _consequence(service))
        if not alone and servers:
            yield Reason("holds-one", "no single server's failure loses the quorum")
        return
    for one in servers:
        if not one["alive"]:
            would = live + int(one["weight"])
            short = _gains(service) - would
            gained = "the quorum is gained" if short <= 0 else f"still {short} too little"
            yield Reason("would-return", f"if {_endpoint(one)} returns: weight {would} is alive, {gained}")


def _consequence(service: Row) -> str:
    sorry = service.get("sorry_server")
    if sorry:
        return f"; the sorry server {_endpoint(sorry)} serves then"
    return "; those that are left go on serving" if len(service["real_servers"]) > 1 else "; nobody serves then"


def _weight(server: Row) -> int:
    """What a server counts for the quorum: a slow start counts whole."""
    held = server.get("held_weight")
    return int(server["weight"] if held is None and server.get("slow_start_percent") else server["effective_weight"])


# ---- a real server --------------------------------------------------------------------------------------------------


def _server_reasons(service: Row, server: Row) -> Iterator[Reason]:
    failed = [one for one in server["checks"] if one["ok"] is False]
    unmade = [one for one in server["checks"] if one["ok"] is None]
    state = server["state"]
    if failed:
        stays = "it stays with weight 0 (inhibit_on_failure)" if server.get("inhibit_on_failure") else "it is taken out"
        yield Reason("checks-failed", f"{len(failed)} of {len(server['checks'])} checks failed: {stays}",
                     tuple(Reason("check-failed", _said(one)) for one in failed))  # fmt: skip
    elif state == "waiting":
        yield Reason("alpha", "it waits for the first success of its checks (alpha)",
                     tuple(Reason("check-unmade", _said(one)) for one in unmade or server["checks"]))  # fmt: skip
    elif state == "aside":
        yield Reason("aside", "its checks pass, and the sorry server stands in for all", (_weights(service),))
    elif not server["checks"]:
        yield Reason("unchecked", "it has no checks: it counts as alive")
    else:
        yield Reason("checks-passed", "its checks pass", tuple(Reason("check", _said(one)) for one in server["checks"]))
    yield from _weight_reasons(server)
    if service.get("suspended"):
        yield Reason("suspended", "its checks rest: the service's address is not on this host (ha_suspend)")


def _weight_reasons(server: Row) -> Iterator[Reason]:
    weight, effective, held = server["weight"], server["effective_weight"], server.get("held_weight")
    if held is not None:
        yield Reason("held", f"an operator holds its weight at {held} (configured {weight})")
    elif server.get("slow_start_percent") is not None:
        percent = server["slow_start_percent"]
        yield Reason("slow-start", f"its slow start is at {percent} %: weight {effective} for now")
    elif effective != weight:
        yield Reason("weight-changed", f"its checks make its weight {effective} (configured {weight})")
    if effective == 0 and held is None and server["alive"]:
        yield Reason("idle", "with weight 0 it gets no new connections")


def _server_changes(service: Row, server: Row) -> Iterator[Reason]:
    failed = [one for one in server["checks"] if one["ok"] is not True]
    if failed and not server["alive"]:
        for one in failed:
            again = span_text(round(one["delay_loop_s"] * SECOND)) if one.get("delay_loop_s") else "the next time"
            yield Reason("check-passes", f"if {one['kind']} passes once (it is made every {again}): "
                         + ("it serves again" if len(failed) == 1 else "that check counts as passed"))  # fmt: skip
    elif server["alive"]:
        for one in server["checks"]:
            yield Reason("check-fails", f"if {one['kind']} fails {_times(one)}: it leaves, within {_patience(one)}")
        left = int(service.get("live_weight", 0)) - _weight(server)
        if server["checks"] and service["quorum_met"] and left < _keeps(service):
            yield Reason("would-lose", f"then weight {left} is left and the quorum is lost{_consequence(service)}")
    name, label = service["name"], _endpoint(server)
    if server.get("held_weight") is not None:
        yield Reason("enable", f"`holdfast server enable {name} {label}` gives it its own weight back")
    elif server["alive"]:
        yield Reason("drain", f"`holdfast server drain {name} {label}` takes it out without cutting connections")


def _times(check: Row) -> str:
    times = int(check.get("retry", 0)) + 1 - int(check.get("failures", 0))
    return "once" if times <= 1 else f"{times} times more" if check.get("failures") else f"{times} times in a row"


def _patience(check: Row) -> str:
    """How long a server that dies now may go on being used, the time-outs of its last runs apart."""
    waits = max(int(check.get("retry", 0)) - int(check.get("failures", 0)), 0)
    whole = float(check.get("delay_loop_s", 0)) + waits * float(check.get("delay_before_retry_s", 0))
    return f"{span_text(round(whole * SECOND))} and the time each attempt takes"


def _said(check: Row) -> str:
    word = {True: "passes", False: "failed", None: "has no result"}[check["ok"]]
    shared = f"; {check['shared_by']} services share it" if int(check.get("shared_by", 1)) > 1 else ""
    age = check.get("age_s")
    ago = f", {span_text(round(age * SECOND))} ago" if age is not None else ""
    trying = f" ({check['failures']} of {check['retry'] + 1} failures)" if check["ok"] and check.get("failures") else ""
    return f"{check['kind']} {word}{trying}: {check['detail']}{ago}{shared}"


def _faults_of_checks(checks: Iterator[Row] | Sequence[Row]) -> Iterator[Reason]:
    for check in checks:
        if check.get("overdue"):
            yield Reason("overdue", f"{check['kind']} itself is at fault, its verdict is old: {check['detail']}")


# ---- what led here --------------------------------------------------------------------------------------------------


def _endpoint(server: Row) -> str:
    return server_names(server)[1] if server["port"] else str(server["address"])


def _concerning(service: Row, label: str, events: Sequence[Row]) -> list[Row]:
    names = names_of(service)
    about = [row for row in events if row.get("name") in names]
    return [row for row in about if label in str(row.get("what"))] if label else about


def _history(service: Row, label: str, events: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(_concerning(service, label, events)[-HISTORY:])


def _since(service: Row, events: Sequence[Row], label: str = "") -> str:
    """When it came to its present state, as far as is remembered; "" when it is not."""
    word = label or "quorum"
    told = [row for row in _concerning(service, label, events) if word in str(row.get("what")) and "up" in row]
    return str(told[-1].get("time")) if told and told[-1].get("up") is not None else ""
