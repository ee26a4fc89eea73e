"""A whole simulation: every fault of a cluster tried and judged, as a document."""

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.sim.cluster import Cluster, Router, primary
from holdfast.sim.faults import Fault, Step, double_faults, single_faults
from holdfast.sim.history import Entry
from holdfast.sim.servers import Tried
from holdfast.sim.trial import Bench, Outcome, Trial, try_faults, try_scenario
from holdfast.sim.verdicts import Verdict, baseline_fault, judge, seconds_of

FAILING = ("bad",)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial did to some virtual routers that fared alike."""

    trial: Trial
    routers: tuple[str, ...]
    standing_for: tuple[str, ...]  # routers alike, not tried themselves
    outcome: Outcome
    verdict: Verdict


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything tried. `baseline`: what is wrong before anything fails, by router."""

    cluster: Cluster
    baseline: dict[str, str]
    owners: dict[str, tuple[str, ...]]
    asked: bool  # faults were named; else every one was tried
    singles: tuple[tuple[Trial, tuple[Row, ...]], ...]
    doubles: tuple[tuple[Trial, tuple[Row, ...]], ...] = ()

    def failing(self, strict: bool = False) -> list[Row]:
        """The rows of single faults that left an address with no owner, or with more than one."""
        failing = (*FAILING, "split") if strict else FAILING
        return [row for _, rows in self.singles for row in rows if row.verdict.grade in failing]


def simulate(
    cluster: Cluster, asked: Sequence[Fault | tuple[Step, ...]] = (), seed: int = 0, *, doubles: bool = True
) -> Simulation:
    """Try what was asked for, or, when nothing was, every single fault and every two of them."""
    bench = Bench(cluster, seed)
    bench.rest()
    owners = {router.name: _owners(bench, router) for router in cluster.routers}
    baseline = {
        router.name: said
        for router in cluster.routers
        if (said := baseline_fault(cluster, router, owners[router.name], bench.members(router)))
    }
    singles: list[Fault | tuple[Step, ...]] = list(asked) or list(single_faults(cluster))
    pairs = double_faults([one for one in singles if isinstance(one, Fault)]) if doubles and not asked else []
    return Simulation(
        cluster=cluster,
        baseline=baseline,
        owners=owners,
        asked=bool(asked),
        singles=tuple(_tried(cluster, one, seed) for one in singles),
        doubles=tuple(_judged(cluster, try_faults(cluster, pair, seed, tracks=False)) for pair in pairs),
    )


def _owners(bench: Bench, router: Router) -> tuple[str, ...]:
    """Who serves a router's addresses; everybody who serves some of them where they fare differently."""
    every = [bench.owners(router, vip) for vip in router.vips] or [bench.owners(router, None)]
    if not all(every):
        return ()
    return tuple(dict.fromkeys(name for names in every for name in names))


def _tried(cluster: Cluster, one: Fault | tuple[Step, ...], seed: int) -> tuple[Trial, tuple[Row, ...]]:
    return _judged(
        cluster, try_faults(cluster, (one,), seed) if isinstance(one, Fault) else try_scenario(cluster, one, seed)
    )


def _judged(cluster: Cluster, trial: Trial) -> tuple[Trial, tuple[Row, ...]]:
    """The trial with its rows: routers that fared alike share one."""
    alike: dict[tuple[object, ...], list[tuple[str, Outcome, Verdict]]] = {}
    for outcome in trial.outcomes:
        verdict = judge(cluster, trial, outcome)
        name = outcome.router.name
        after = outcome.after
        key = (
            outcome.before.owners,
            outcome.during.owners,
            outcome.during.outage_ns,
            outcome.during.overlap_ns,
            after and (after.owners, after.outage_ns, after.overlap_ns),
            verdict.grade,
            verdict.text().replace(name, ""),
        )
        alike.setdefault(key, []).append((name, outcome, verdict))
    rows = tuple(
        Row(
            trial=trial,
            routers=tuple(dict.fromkeys(name for name, _, _ in each)),
            standing_for=tuple(name for _, outcome, _ in each for name in outcome.router.alike),
            outcome=each[0][1],
            verdict=each[0][2],
        )
        for each in alike.values()
    )
    return trial, rows


# ---- as a document --------------------------------------------------------------------------------------------------


def services_document(host: str, tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The virtual servers of a host, in what `holdfast simulate --json` prints."""
    return [
        {
            "node": host,
            "name": one.service,
            "quorum": one.quorum,
            "weight": one.weight,
            "stands_for": list(one.alike),
            "faults": [trial.document() for trial in one.trials],
        }
        for one in tried
    ]


def document(simulation: Simulation, *, strict: bool = False, verbose: bool = False) -> dict[str, Any]:
    """What `holdfast simulate --json` prints."""
    cluster = simulation.cluster
    failing = simulation.failing(strict)
    return {
        "ok": not failing and not simulation.baseline,
        "nodes": [_node(cluster, node.name) for node in cluster.nodes],
        "routers": [
            {
                "name": router.name,
                "vrid": router.members[0].config.vrid,
                "family": "ipv4" if router.members[0].config.family == 4 else "ipv6",
                "members": [
                    {"node": one.node, "instance": one.config.name, "priority": one.config.priority}
                    for one in router.members
                ],
                "vips": [text(vip) for vip in router.vips],
                "stands_for": list(router.alike),
                "owners": list(simulation.owners[router.name]),
                "problem": simulation.baseline.get(router.name, ""),
            }
            for router in cluster.routers
        ],
        "faults": [_trial(trial, rows, verbose or simulation.asked) for trial, rows in simulation.singles],
        "double_faults": [_trial(trial, rows, False) for trial, rows in simulation.doubles],
        "failing": list(dict.fromkeys(row.trial.text for row in failing)),
    }


def _node(cluster: Cluster, name: str) -> dict[str, Any]:
    node = cluster.node(name)
    return {
        "name": node.name,
        "file": node.file,
        "interfaces": [
            {
                "name": one.name,
                "segment": node.segments[one.name],
                "addresses": [text(address) for address in one.addresses],
                "guessed": one.name in node.guessed,
            }
            for one in node.interfaces
        ],
        "sources": {config.name: primary(node, config) for config in node.plan.instances},
    }


def _trial(trial: Trial, rows: Sequence[Row], verbose: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "fault": trial.text,
        "kind": "+".join(fault.kind for fault in trial.faults),
        "grade": worst(rows),
        "settled": trial.settled,
        "outcomes": [_row(row) for row in rows],
    }
    if trial.refused:
        made["refused"] = list(trial.refused)
    if verbose:
        made["events"] = [
            {
                "at_s": seconds_of(entry.at_ns - trial.begun_ns),
                "node": entry.node,
                "subject": entry.instance,
                "kind": entry.kind,
                "state": entry.state,
                "cause": entry.cause,
            }
            for entry in events(trial)
        ]
    return made


def _row(row: Row) -> dict[str, Any]:
    during, after = row.outcome.during, row.outcome.after
    return {
        "instances": [*row.routers, *row.standing_for],
        "vips": [text(vip) for vip in row.outcome.vips] if len(row.routers) == 1 else [],
        "grade": row.verdict.grade,
        "verdict": row.verdict.text(),
        "owners_before": list(row.outcome.before.owners),
        "owners": list(during.owners),
        "outage_s": seconds_of(during.outage_ns),
        "lasting": during.lasting,
        "overlap_s": seconds_of(during.overlap_ns),
        "after": None
        if after is None
        else {
            "owners": list(after.owners),
            "outage_s": seconds_of(after.outage_ns),
            "lasting": after.lasting,
            "overlap_s": seconds_of(after.overlap_ns),
        },
    }


GRADES = ("bad", "split", "none", "odd", "good")


def worst(rows: Sequence[Row]) -> str:
    """The worst grade of some rows."""
    return min((row.verdict.grade for row in rows), key=GRADES.index, default="good")


def events(trial: Trial) -> list[Entry]:
    """What happened in a trial, in order, each once."""
    found: dict[Entry, None] = {}
    for outcome in trial.outcomes:
        for phase in (outcome.before, outcome.during, outcome.after):
            for entry in phase.entries if phase is not None else ():
                if entry.at_ns >= trial.begun_ns:
                    found[entry] = None
    return sorted(found, key=lambda entry: entry.at_ns)
