"""`holdfast simulate`: what each fault would do to a cluster, from the configuration files of its hosts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet, aligned, widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.config.balancer_plan import BalancerPlan
    from holdfast.sim.cluster import Cluster
    from holdfast.sim.faults import Fault, Step
    from holdfast.sim.report import Row, Simulation
    from holdfast.sim.servers import Tried
    from holdfast.sim.trial import Phase

SIGNS = {
    "good": ("ok", "green"),
    "odd": ("?", "yellow"),
    "split": ("!", "yellow"),
    "none": ("-", ""),
    "bad": ("x", "red"),
}
"""How each grade of a verdict is shown."""

MOST_SHOWN = 12
"""So many double faults are listed, of those that leave nobody or two; --verbose lists all."""


@click.command("simulate", short_help="every fault of a cluster, its outcome and outage, from its hosts' files")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE…")
@click.option("--fault", "specs", multiple=True, metavar="SPEC", help="only this, e.g. 'crash a'; may be repeated")
@click.option("--scenario", type=click.Path(), metavar="FILE", help="your own steps, a line each: at 5s crash a")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--svg", type=click.Path(), metavar="FILE", help="write the timelines as a picture")
@click.option("--seed", type=int, default=0, metavar="N", help="of what little is left to chance [default: 0]")
@click.option("--strict", is_flag=True, help="a cut network with a master on each side counts as failing too")
@click.option("--verbose", is_flag=True, help="a timeline of each fault, and every double fault")
def command(
    files: tuple[str, ...],
    specs: tuple[str, ...],
    scenario: str | None,
    as_json: bool,
    svg: str | None,
    seed: int,
    strict: bool,
    verbose: bool,
) -> None:
    """Try every fault on the hosts that FILES configure, with the daemon's own machines in virtual time.

    Each FILE is a host, called after it (or NAME); the letters a, b, c … mean the hosts in order. Virtual servers are
    tried as well, of one FILE too: each real server's death, its flapping, and how many the quorum survives.

    \b
    Examples:
      holdfast simulate ha01.conf ha02.conf
      holdfast simulate director.conf                                    its virtual servers
      holdfast simulate ha01.conf ha02.conf --fault 'crash a'
      holdfast simulate ha01.conf ha02.conf --fault 'at 5s crash a; at 12s start a' --svg picture.svg
    \b
    Faults:
      crash HOST, stop HOST, restart HOST …, kill HOST, stall HOST 10s, suspend HOST 10s,
      link HOST INTERFACE, script HOST SCRIPT, cut HOST HOST, cut HOST>HOST, isolate HOST,
      switch HOST INSTANCE [here|away]; in scenarios also start HOST, link HOST INTERFACE up,
      script HOST SCRIPT ok, heal, release HOST INSTANCE.

    Ends with 0 when every single fault leaves each address with one owner, 1 when some leaves none or two, or a file
    can't be used, 2 when the words are not understood.
    """
    import gc

    from holdfast.sim.report import document, services_document, simulate
    from holdfast.sim.servers import try_services

    gc.disable()  # hundreds of small worlds, which all end with this process
    cluster, plans = _read(files)
    services = [] if specs or scenario else [(name, *try_services(plan)) for name, plan in plans]
    sheet = Sheet()
    whole: dict[str, Any] = {"ok": True}
    failing = False
    if cluster is not None:
        asked = _asked(cluster, specs, scenario)
        simulation = simulate(cluster, asked, seed)
        failing = bool(simulation.failing(strict) or simulation.baseline)
        if svg is not None:
            _write_svg(simulation, svg)
        if as_json:
            whole = document(simulation, strict=strict, verbose=verbose)
        else:
            draw(simulation, sheet, strict=strict, verbose=verbose)
    if as_json:
        whole["virtual_servers"] = [row for name, tried, _ in services for row in services_document(name, tried)]
        click.echo(json.dumps(whole))
    else:
        for name, tried, left_out in services:
            draw_services(name, tried, left_out, sheet)
        sheet.flush()
    raise SystemExit(1 if failing else 0)


def _read(files: tuple[str, ...]) -> "tuple[Cluster | None, list[tuple[str, BalancerPlan]]]":
    """The cluster of these files (None of a single one) and their virtual servers, those of equal hosts once.

    Ends with 1 when a file can't be used.
    """
    from holdfast.sim.cluster import build_cluster
    from holdfast.sim.reading import read_both

    read, plans = [], list[tuple[str, "BalancerPlan"]]()
    for name, path in named(files):
        checked, balancer = read_both(path, name)
        serves = bool(balancer.lvs.services)
        if checked.verdict == "refused" or not (checked.plan.instances or (serves and len(files) == 1)):
            why = "can't be used" if checked.verdict == "refused" else "has no vrrp_instance that would run"
            click.echo(f"holdfast: {path} {why}: run `holdfast check` on it", err=True)
            raise SystemExit(1)
        read.append((name, path, checked.plan))
        if serves:
            plans.append((name, balancer))
    if len(files) < 2 and not plans:
        raise click.UsageError("one host has nobody to hand over to: name the files of two hosts or more")
    equal = plans and len(plans) == len(files) and all(plan == plans[0][1] for _, plan in plans)
    return build_cluster(read) if len(files) > 1 else None, plans[:1] if equal else plans


def named(files: tuple[str, ...]) -> list[tuple[str, str]]:
    """(name, path) of each host: NAME=, else the file's name, else its directory's, else a letter."""
    pairs = [word.partition("=") if "=" in word and not Path(word).exists() else ("", "", word) for word in files]
    paths = [path for _, _, path in pairs]
    stems, folders = [Path(path).stem for path in paths], [Path(path).resolve().parent.name for path in paths]
    for called in (stems, folders):
        names = [name or other.replace(" ", "_") for (name, _, _), other in zip(pairs, called, strict=True)]
        if len(set(names)) == len(names) and all(names):
            return list(zip(names, paths, strict=True))
    names = [name or chr(ord("a") + number) for number, (name, _, _) in enumerate(pairs)]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two hosts are called alike: {', '.join(names)}")
    return list(zip(names, paths, strict=True))


def _asked(
    cluster: "Cluster", specs: tuple[str, ...], scenario: str | None
) -> "list[Fault | tuple[Step, ...]]":
    from holdfast.sim.faults import ScenarioError, fault_of, read_scenario

    asked: list[Fault | tuple[Step, ...]] = []
    try:
        for spec in specs:
            asked.append(fault_of(spec, cluster) or read_scenario(spec, cluster))
        if scenario is not None:
            try:
                text = Path(scenario).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as wrong:
                click.echo(f"holdfast: {scenario} can't be read: {getattr(wrong, 'strerror', None) or wrong}", err=True)
                raise SystemExit(1) from None
            asked.append(read_scenario(text, cluster))
    except ScenarioError as wrong:
        raise click.UsageError(str(wrong)) from None
    return asked


def _write_svg(simulation: "Simulation", path: str) -> None:
    from holdfast.sim.svg import picture

    try:
        Path(path).write_text(picture(simulation), encoding="utf-8")
    except OSError as wrong:
        click.echo(f"holdfast: {path} can't be written: {wrong.strerror}", err=True)
        raise SystemExit(1) from None


# ---- for people -----------------------------------------------------------------------------------------------------


def draw(simulation: "Simulation", sheet: Sheet, *, strict: bool = False, verbose: bool = False) -> None:
    """Who owns what, the table of faults, the double faults, and a closing line."""
    from holdfast.sim.verdicts import describe

    cluster = simulation.cluster
    for line in describe(cluster):
        sheet.line(f"  {line}", "faint")
    for router in cluster.routers:
        vips = _vips(router.vips)
        members = ", ".join(f"{one.node} {one.config.priority}" for one in router.members)
        owners = " and ".join(simulation.owners[router.name]) or "nobody"
        if router.alike:
            vips += f" (and {len(router.alike)} more like it)"
        sheet.line(f"{router.name}: {vips}, VRID {router.members[0].config.vrid}, priority {members}: owner {owners}")
        if router.name in simulation.baseline:
            sheet.wrapped(simulation.baseline[router.name], 4, "  x ", "red")
    sheet.line()
    pictures = verbose or (simulation.asked and len(simulation.singles) == 1)
    _table(simulation, sheet, pictures)
    if simulation.doubles:
        _doubles(simulation, sheet, verbose)
    failing = simulation.failing(strict)
    if failing or simulation.baseline:
        names = list(dict.fromkeys(row.trial.text for row in failing)) or ["nothing has failed, and yet it is wrong"]
        sheet.wrapped(f"not one owner: {'; '.join(names)}", 2, "", "red")
    else:
        which = "that" if simulation.asked else "every single fault"
        sheet.line(f"{which} leaves each address with one owner", "green")


def draw_services(host: str, tried: "Sequence[Tried]", left_out: int, sheet: Sheet) -> None:
    """The virtual servers of a host: a line a fault."""
    for number, one in enumerate(tried):
        if number or sheet.lines:
            sheet.line()
        alike = f" (and {len(one.alike)} more like it)" if one.alike else ""
        sheet.line(f"virtual server {one.service}{alike} of {host}: quorum {one.quorum} of weight {one.weight}", "bold")
        for trial in one.trials:
            sign, colour = SIGNS[trial.grade]
            names = " + ".join(trial.servers)
            fault = "answers every other time" if trial.fault == "flaps" else f"die{'s' * (len(trial.servers) == 1)}"
            sheet.line(f"  {sheet.paint(sign, colour):<2} {names} {fault}")
            sheet.wrapped(trial.text, 7, "", "" if trial.grade == "bad" else "faint")
    if left_out:
        sheet.line(f"and {left_out} virtual servers that were not tried")


def _vips(vips: Any) -> str:
    from holdfast.base.address import text

    shown = [text(vip) for vip in vips]
    return ", ".join(shown[:3]) + (f" (+{len(shown) - 3})" if len(shown) > 3 else "") if shown else "no address"


def _table(simulation: "Simulation", sheet: Sheet, pictures: bool) -> None:
    """A row a fault; the verdict below it, and the timeline where wanted."""
    several = len(simulation.cluster.routers) > 1
    rows = [row for _, found in simulation.singles for row in found]
    head = ("", "FAULT", *(("INSTANCE",) if several else ()), "OWNER", "OUTAGE", "HEALED", "OUTAGE")
    table = [head, *(_cells(row, several) for row in rows)]
    columns = widths(table)
    sheet.line("  ".join(aligned(head, columns)).rstrip(), "bold")
    for row, cells, following in zip(rows, table[1:], [*rows[1:], None], strict=True):
        padded = aligned(cells, columns)
        padded[0] = sheet.paint(padded[0], SIGNS[row.verdict.grade][1])
        sheet.line("  ".join(padded).rstrip())
        sheet.wrapped(row.verdict.text(), columns[0] + 4, "", "" if row.verdict.grade == "bad" else "faint")
        for refused in row.trial.refused:
            sheet.wrapped(refused, columns[0] + 4, "", "yellow")
        if pictures:
            _picture(row, sheet)
            if following is None or following.trial is not row.trial:
                _narration(row, sheet)


def _cells(row: "Row", several: bool) -> tuple[str, ...]:
    during, after = row.outcome.during, row.outcome.after
    names = row.routers[0] + (f" (+{len(row.routers) - 1})" if len(row.routers) > 1 else "")
    return (
        SIGNS[row.verdict.grade][0],
        row.trial.text,
        *((names,) if several else ()),
        _owner(during),
        _outage(during),
        "" if after is None else _owner(after),
        "" if after is None else _outage(after),
    )


def _owner(phase: "Phase") -> str:
    return " + ".join(phase.owners) or "nobody"


def _outage(phase: "Phase") -> str:
    from holdfast.base.time import span_text

    if phase.lasting:
        return "lasting"
    return span_text(phase.outage_ns) if phase.outage_ns >= 1_000 else "0"


def _picture(row: "Row", sheet: Sheet) -> None:
    from holdfast.sim.timeline import draw as draw_timeline

    plain = not (sheet.out.encoding or "").lower().startswith("utf")
    sheet.line()
    for line in draw_timeline(row.trial, row.routers[:1], min(sheet.width or 100, 120) - 6, plain=plain):
        sheet.line(f"      {line}")
    sheet.line()


def _narration(row: "Row", sheet: Sheet) -> None:
    from holdfast.sim.timeline import narrate

    for line in narrate(row.trial):
        sheet.line(f"      {line}", "faint")
    sheet.line()


def _doubles(simulation: "Simulation", sheet: Sheet, verbose: bool) -> None:
    """How the double faults end, and which of them deserve a look."""
    from holdfast.sim.report import worst

    grades = [worst(rows) for _, rows in simulation.doubles]
    counts = {grade: grades.count(grade) for grade in SIGNS}
    sheet.line()
    said = [f"{counts['good'] + counts['odd']} leave each address with one owner"]
    for grade, words in (("none", "leave no host that could serve"), ("split", "leave one on each side of a cut"),
                         ("bad", "leave none or two otherwise")):  # fmt: skip
        if counts[grade]:
            said.append(f"{counts[grade]} {words}")
    sheet.wrapped(f"two faults, one after the other ({len(grades)}): {', '.join(said)}", 2, "")
    shown = [(trial, rows) for (trial, rows), grade in zip(simulation.doubles, grades, strict=True)
             if verbose or grade == "bad"]  # fmt: skip
    for trial, rows in shown if verbose else shown[:MOST_SHOWN]:
        for row in rows:
            if not verbose and row.verdict.grade != "bad":
                continue
            sign, colour = SIGNS[row.verdict.grade]
            sheet.line(f"  {sheet.paint(sign, colour)} {trial.text}: {_owner(row.outcome.during)}")
            sheet.wrapped(row.verdict.text(), 6, "", "faint")
    if not verbose and len(shown) > MOST_SHOWN:
        sheet.line(f"  and {len(shown) - MOST_SHOWN} more: --verbose shows them all")
    sheet.line()
