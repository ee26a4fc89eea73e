"""`/metrics`: the names and labels of the Prometheus exporter that keepalived's users run, and ours beside them."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from holdfast.export.web.bounds import BoundedProtocol
from holdfast.export.web.view import View
from holdfast.export.web_messages import USUAL_GARP_DELAY_S

Families = Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily | InfoMetricFamily]

STATES = {"INIT": 0, "BACKUP": 1, "MASTER": 2, "FAULT": 3}

THEIRS = (
    ("keepalived_advertisements_received", "Advertisements received", "adverts_received"),
    ("keepalived_advertisements_sent", "Advertisements sent", "adverts_sent"),
    ("keepalived_become_master", "Times it became master", "became_master"),
    ("keepalived_release_master", "Times it ceased to be master", "released_master"),
    ("keepalived_packet_length_errors", "Packet length errors", "packet_length_errors"),
    ("keepalived_advertisements_interval_errors", "Advertisement interval errors", "advert_interval_errors"),
    ("keepalived_ip_ttl_errors", "TTL errors", "ttl_errors"),
    ("keepalived_invalid_type_received", "Messages of an invalid type", "invalid_type_received"),
    ("keepalived_address_list_errors", "Address list errors", "address_list_errors"),
    ("keepalived_authentication_invalid", "Invalid authentication types", "invalid_auth_type"),
    ("keepalived_authentication_mismatch", "Authentication type mismatches", "auth_type_mismatches"),
    ("keepalived_authentication_failure", "Authentication failures", "auth_failures"),
    ("keepalived_priority_zero_received", "Adverts of priority 0 received", "priority_zero_received"),
    ("keepalived_priority_zero_sent", "Adverts of priority 0 sent", "priority_zero_sent"),
)
"""Counters by the exporter's name, and the key of ours in `statistics`."""

IN_THEIRS = {key for _, _, key in THEIRS}


def seconds_of(text: str | None) -> float | None:
    """A time of the status as seconds since 1970."""
    return None if not text else datetime.fromisoformat(text).timestamp()


class DaemonCollector(Collector):
    """Makes the metrics from the view, whenever they are asked for."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Families:
        """Every family there is."""
        view = self._view
        up = 0 if view.error or not view.status.get("worker_pid") else 1
        yield GaugeMetricFamily("keepalived_up", "Whether the daemon answers and its vrrp worker runs", up)
        yield from _loops(view.loops)
        if view.error:
            return
        status = view.status
        instances = status["instances"]
        yield from _theirs(instances, status["trackers"], view.garp_delays_s)
        yield from _instances(instances)
        yield from _node(status, view)
        yield from _services(status.get("virtual_servers", ()), seconds_of(status["time"]) or 0.0)

    def describe(self) -> Iterable[Any]:
        """Nothing is registered by name: what is there depends on the configuration."""
        return ()


def _theirs(
    instances: list[dict[str, Any]], trackers: list[dict[str, Any]], garp_delays_s: dict[str, float]
) -> Families:
    by_address = ("iname", "intf", "vrid", "ip_address")
    state = GaugeMetricFamily("keepalived_vrrp_state", "0 init, 1 backup, 2 master, 3 fault", labels=by_address)
    excluded = GaugeMetricFamily("keepalived_vrrp_excluded_state", "The same, of excluded VIPs", labels=by_address)
    delay = CounterMetricFamily(
        "keepalived_gratuitous_arp_delay", "Delay before gratuitous ARP is sent again, in seconds",
        labels=("iname", "intf", "vrid"),
    )  # fmt: skip
    for one in instances:
        labels = (one["name"], one["interface"], str(one["vrid"]))
        for vip in one["vips"] or ("",):
            state.add_metric((*labels, vip.partition("/")[0]), STATES[one["state"]])
        for vip in one["excluded_vips"]:
            excluded.add_metric((*labels, vip.partition("/")[0]), STATES[one["state"]])
        delay.add_metric(labels, garp_delays_s.get(one["name"], USUAL_GARP_DELAY_S))
    yield from (state, excluded, delay)
    for name, meaning, key in THEIRS:
        family = CounterMetricFamily(name, meaning, labels=("iname", "intf", "vrid"))
        for one in instances:
            labels = (one["name"], one["interface"], str(one["vrid"]))
            family.add_metric(labels, one["statistics"].get(key, 0))
        yield family
    good = GaugeMetricFamily("keepalived_script_status", "0 bad, 1 good", labels=("name",))
    running = GaugeMetricFamily("keepalived_script_state", "0 idle, 1 running", labels=("name",))
    for tracker in trackers:
        if tracker["kind"] == "script":
            good.add_metric((tracker["name"],), 1 if tracker["up"] else 0)
            running.add_metric((tracker["name"],), 1 if tracker["running"] else 0)
    yield from (good, running)


_BY_INSTANCE = ("instance_name", "interface", "vrid", "family")


def _instances(instances: list[dict[str, Any]]) -> Families:
    labels = _BY_INSTANCE
    state = GaugeMetricFamily("holdfast_state", "1 for the state it is in", labels=(*labels, "state"))
    priority = GaugeMetricFamily("holdfast_priority", "As configured", labels=labels)
    effective = GaugeMetricFamily("holdfast_effective_priority", "With the weights of trackers", labels=labels)
    since = GaugeMetricFamily("holdfast_last_transition_timestamp_seconds", "Of its state", labels=labels)
    faults = GaugeMetricFamily("holdfast_faults", "Reasons for FAULT", labels=labels)
    held = GaugeMetricFamily("holdfast_held", "1 while an operator's hand-over holds", labels=labels)
    down = GaugeMetricFamily("holdfast_master_down_interval_seconds", "A silent master is down after", labels=labels)
    heard = GaugeMetricFamily("holdfast_last_heard_seconds", "Since another router was heard", labels=labels)
    events = CounterMetricFamily("holdfast_events", "Counters by name", labels=(*labels, "event"))
    for one in instances:
        which = (one["name"], one["interface"], str(one["vrid"]), one["family"])
        for word in STATES:
            state.add_metric((*which, word), 1 if one["state"] == word else 0)
        priority.add_metric(which, one["priority"])
        effective.add_metric(which, one["effective_priority"])
        since.add_metric(which, seconds_of(one["since"]) or 0)
        faults.add_metric(which, len(one["faults"]))
        held.add_metric(which, 1 if one["held"] else 0)
        down.add_metric(which, one["master_down_interval_s"])
        if one["last_heard"]:
            heard.add_metric(which, one["last_heard"]["ago_s"])
        for key, count in one["statistics"].items():
            if key not in IN_THEIRS:
                events.add_metric((*which, key), count)
    yield from (state, priority, effective, since, faults, held, down, heard, events)


def _node(status: dict[str, Any], view: View) -> Families:
    yield InfoMetricFamily("holdfast", "The daemon", {"version": status["version"], "node": status["node"]})
    yield GaugeMetricFamily("holdfast_status_answer_seconds", "How long its loops took to answer", view.answer_s)
    yield GaugeMetricFamily("holdfast_web_connections", "Clients of the web worker", len(BoundedProtocol.places))
    yield GaugeMetricFamily("holdfast_web_watchers", "Pages that are open", view.watchers)
    asked = CounterMetricFamily("holdfast_web_questions", "How often the daemon was asked", labels=("kind",))
    for kind, count in view.questions.items():
        asked.add_metric((kind,), count)
    yield asked
    is_open = GaugeMetricFamily("holdfast_incidents_open", "Split brains now", labels=("instance_name", "cause"))
    for one in status["incidents"]:
        is_open.add_metric((one["instance"], one["cause"]), 1)
    total = CounterMetricFamily("holdfast_incidents", "Split brains there were", labels=("cause",))
    for cause, count in status["incidents_total"].items():
        total.add_metric((cause,), count)
    up = GaugeMetricFamily("holdfast_tracker_up", "1 up, 0 down", labels=("kind", "name"))
    for one in status["trackers"]:
        if one["up"] is not None:
            up.add_metric((one["kind"], one["name"]), 1 if one["up"] else 0)
    session = GaugeMetricFamily("holdfast_bfd_up", "1 while the neighbour answers", labels=("name", "neighbor"))
    for one in status.get("bfd", ()):
        session.add_metric((one["name"], one["neighbor"]), 1 if one["up"] else 0)
    yield from (is_open, total, up, session)


def _loops(loops: list[dict[str, Any]]) -> Families:
    labels = ("loop",)
    up = GaugeMetricFamily("holdfast_loop_up", "1 while it turns", labels=labels)
    silent = GaugeMetricFamily("holdfast_loop_silent_seconds", "Since its last sign of life", labels=labels)
    lag = HistogramMetricFamily("holdfast_loop_lag_seconds", "How late it came to what was due", labels=labels)
    late = HistogramMetricFamily(
        "holdfast_advert_lateness_seconds", "From when a regular advert was due until the kernel had it", labels=labels
    )
    for one in loops:
        which = (one["name"],)
        up.add_metric(which, 0 if one["why"] else 1)
        silent.add_metric(which, one["silent_s"])
        for family, counted in ((lag, one["lag"]), (late, one["advert_lateness"])):
            if counted is not None:
                ends = [*map(floatToGoString, counted["bounds_s"]), "+Inf"]
                buckets = list(zip(ends, accumulate(counted["counts"]), strict=True))
                family.add_metric(which, buckets, counted["sum_s"])
    yield from (up, silent, lag, late)


def _services(services: Iterable[dict[str, Any]], now_s: float) -> Families:
    quorum = GaugeMetricFamily("holdfast_quorum_met", "1 while it is", labels=("service",))
    live = GaugeMetricFamily("holdfast_live_weight", "Weight of what is alive", labels=("service",))
    held = GaugeMetricFamily("holdfast_service_connections", "Active and inactive", labels=("service", "kind"))
    all_held = CounterMetricFamily("holdfast_service_accepted_connections", "All there were", labels=("service",))
    through = CounterMetricFamily("holdfast_service_bytes", "Through it", labels=("service", "direction"))
    by_server = ("service", "server")
    alive = GaugeMetricFamily("holdfast_server_alive", "1 while it may be used", labels=by_server)
    weight = GaugeMetricFamily("holdfast_server_weight", "As the kernel has it", labels=by_server)
    active = GaugeMetricFamily("holdfast_server_connections", "Active and inactive", labels=(*by_server, "kind"))
    total = CounterMetricFamily("holdfast_server_accepted_connections", "All there were", labels=by_server)
    octets = CounterMetricFamily("holdfast_server_bytes", "Through it", labels=(*by_server, "direction"))
    by_check = (*by_server, "check", "number")
    passes = GaugeMetricFamily("holdfast_check_ok", "1 while it passes", labels=by_check)
    age = GaugeMetricFamily("holdfast_check_age_seconds", "Since it was last made", labels=by_check)
    took = GaugeMetricFamily("holdfast_check_duration_seconds", "How long the last run took", labels=by_check)
    longest = GaugeMetricFamily("holdfast_check_longest_seconds", "How long the longest run took", labels=by_check)
    for service in services:
        name = service["name"]
        quorum.add_metric((name,), 1 if service["quorum_met"] else 0)
        live.add_metric((name,), service.get("live_weight", 0))
        _count((name,), service.get("connections") or {}, held, all_held, through)
        for server in service["real_servers"]:
            which = (name, server.get("label") or f"{server['address']}:{server['port']}")
            alive.add_metric(which, 1 if server["alive"] else 0)
            weight.add_metric(which, server["effective_weight"])
            _count(which, server.get("connections") or {}, active, total, octets)
            for number, check in enumerate(server["checks"]):
                one = (*which, check["kind"], str(number))
                if check["ok"] is not None:
                    passes.add_metric(one, 1 if check["ok"] else 0)
                if run := seconds_of(check["last_run"]):
                    age.add_metric(one, max(now_s - run, 0.0))
                if check.get("duration_s") is not None:
                    took.add_metric(one, check["duration_s"])
                    longest.add_metric(one, check["longest_s"])
    yield from (quorum, live, held, all_held, through)
    yield from (alive, weight, active, total, octets, passes, age, took, longest)


def _count(
    which: tuple[str, ...], counts: dict[str, int], held: GaugeMetricFamily, total: CounterMetricFamily,
    octets: CounterMetricFamily,
) -> None:  # fmt: skip
    for kind in ("active", "inactive"):
        held.add_metric((*which, kind), counts.get(kind, 0))
    total.add_metric(which, counts.get("total", 0))
    for direction in ("in", "out"):
        octets.add_metric((*which, direction), counts.get(f"bytes_{direction}", 0))


def registry(view: View) -> CollectorRegistry:
    """All of it, for an exposition."""
    kept = CollectorRegistry(auto_describe=False)
    kept.register(DaemonCollector(view))
    return kept
