"""`holdfast sniff`: who speaks VRRP, CARP and BFD, and what is inconsistent about each."""

import json
import select
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.decode import open_capture, secrets_from
from holdfast.cli.drawing import GAP, Sheet, aligned, fitted, widths
from holdfast.cli.switch import seconds

if TYPE_CHECKING:
    from holdfast.dissect.secrets import Secrets
    from holdfast.kernel.packet_listener import PacketListener
    from holdfast.sniff.listener import Listener, Report

HEADINGS = ("STATE", "SPEAKER", "RANK", "EVERY", "HEARD", "PACKETS", "ADDRESSES")
EVENT_COLOURS = {"appeared": "green", "changed": "yellow", "silent": "red"}
STATE_COLOURS = {"speaking": "green", "silent": "red", "resigned": "yellow"}
LONGEST_WAIT_S = 1.0
ADDRESSES_WIDE = 60


@click.command("sniff", short_help="every VRRP, CARP and BFD speaker heard; never transmits")
@click.option("-i", "--interface", metavar="IFACE", help="listen there, until interrupted")
@click.option("--for", "for_s", callback=seconds, metavar="TIME", help="listen so long: 5s, 2m …")
@click.option("--read", "file", type=click.Path(allow_dash=True), metavar="FILE.pcap", help="judge a capture instead")
@click.option("--secrets", "secrets_file", type=click.Path(), metavar="FILE", help="passwords and keys, as for decode")
@click.option("--json", "as_json", is_flag=True, help="one JSON document an event, for programs")
def command(
    interface: str | None, for_s: float | None, file: str | None, secrets_file: str | None, as_json: bool
) -> None:
    """Tell who speaks on a network: a line as a speaker appears, changes or falls silent, and a table at the end.

    \b
    Examples:
      holdfast sniff -i eth0
      holdfast sniff -i eth0 --for 5s --json
      holdfast sniff --read FILE.pcap

    Nothing is ever sent. A backup says nothing, so it is not heard. What is inconsistent about a speaker, in itself or
    beside the others of the same virtual router, stands behind a !.
    """
    if (interface is None) == (file is None):
        raise click.UsageError("say -i IFACE, or --read FILE.pcap")
    from holdfast.sniff.listener import Listener

    secrets = secrets_from(secrets_file)
    listener, printer = Listener(), Printer(as_json)
    trouble = ""
    try:
        if file is not None:
            trouble = read_file(file, secrets, listener, printer)
        else:
            assert interface is not None
            trouble = listen(interface, for_s, secrets, listener, printer)
    except KeyboardInterrupt:
        pass
    printer.finish(listener, f"in {file}" if file else f"on {interface}")
    if trouble:
        click.echo(f"holdfast: {trouble}", err=True)
        raise SystemExit(1)


class Printer:
    """Where reports go, as lines for people or programs."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.start_ns = as_json, 0
        self.sheet = Sheet()

    def begin(self, now: int) -> None:
        """Times are counted from here."""
        self.start_ns = now

    def tell(self, reports: "list[Report]") -> None:
        """Print reports at once."""
        from holdfast.sniff.words import line

        for report in reports:
            if self.as_json:
                when = datetime.fromtimestamp(report.time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
                self.sheet.line(json.dumps({"time": when, **report.document(self.start_ns)}))
                continue
            at = f"{(report.time_ns - self.start_ns) / 1e9:>9.3f}  "
            self.sheet.line(at + self.sheet.paint(line(report), EVENT_COLOURS[report.event]))
            for one in report.found:
                self.sheet.wrapped(one.text, 15, " " * 11 + "!  ", "red")
            for one in report.settled:
                self.sheet.wrapped(f"settled: {one.text}", 15, " " * 11 + "-  ", "faint")
        if reports:
            self.sheet.flush()

    def finish(self, listener: "Listener", where: str) -> None:
        """The table of everybody, or in JSON a last document with all of them."""
        from holdfast.sniff.speaker import document

        speakers = [document(one) for one in listener.speakers()]
        if self.as_json:
            self.sheet.line(json.dumps({"event": "end", "speakers": speakers, "uncounted": listener.uncounted}))
        elif speakers:
            draw(speakers, self.sheet)
        else:
            self.sheet.wrapped(
                f"nobody was heard {where}: no router there is master, or the network does not pass multicast on "
                "(an unknown VLAN, IGMP snooping, a cloud), or they send unicast to somebody else",
                0,
            )
        if listener.uncounted and not self.as_json:
            self.sheet.line(f"{listener.uncounted} packets of further speakers are not counted: too many", "red")
        self.sheet.flush()


def read_file(file: str, secrets: "Secrets", listener: "Listener", printer: Printer) -> str:
    """Judge a capture file; what was wrong with it, or ""."""
    from holdfast.dissect.frame import dissect
    from holdfast.dissect.pcap import Unreadable, read_capture

    with open_capture(file) as stream:
        try:
            for record in read_capture(stream):
                if record.frame == 1:
                    printer.begin(record.time_ns)
                printer.tell(listener.hear(dissect(record.link_type, record.octets, secrets), record.time_ns))
        except Unreadable as reason:
            return f"{file}: {reason}"
    return ""


def listen(interface: str, for_s: float | None, secrets: "Secrets", listener: "Listener", printer: Printer) -> str:
    """Listen until the time is over or somebody interrupts; what went wrong, or "". Ends the command when it can't."""
    from holdfast.kernel.errors import KernelRefused
    from holdfast.kernel.packet_listener import PacketListener

    try:
        source = PacketListener(interface)
    except KernelRefused as refused:
        click.echo(f"holdfast: {refused}", err=True)
        raise SystemExit(1) from None
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell started us with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    printer.begin(time.time_ns())
    if not printer.as_json and sys.stdout.isatty():
        click.echo(f"listening on {interface}{'' if for_s else '; Ctrl-C ends it'}", err=True)
    try:
        _listen(source, None if for_s is None else time.monotonic() + for_s, secrets, listener, printer)
    except KernelRefused as refused:
        return str(refused)
    finally:
        if lost := source.lost():
            click.echo(f"holdfast: {lost} packets came too fast and were missed", err=True)
        source.close()
    return ""


def _listen(
    source: "PacketListener", until: float | None, secrets: "Secrets", listener: "Listener", printer: Printer
) -> None:
    from holdfast.dissect.frame import dissect
    from holdfast.kernel.packet_listener import MOST_AT_ONCE

    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    if stdout_is_real():
        waiting.register(sys.stdout, 0)  # tells when nobody reads any more
    while True:
        now = time.time_ns()
        heard = source.receive()
        for time_ns, octets in heard:
            printer.tell(listener.hear(dissect(source.link_type, octets, secrets), time_ns))
        if len(heard) < MOST_AT_ONCE:  # otherwise more wait, older than this moment
            printer.tell(listener.advance(now))
        waits = [LONGEST_WAIT_S]
        if until is not None:
            waits.append(until - time.monotonic())
        due = listener.deadline()
        if due is not None:
            waits.append(max((due - time.time_ns()) / 1e9, 0.001))
        if min(waits) <= 0:
            return
        for descriptor, _ in waiting.poll(min(waits) * 1000):
            if descriptor != source.fileno():
                raise BrokenPipeError


def stdout_is_real() -> bool:
    """Whether standard output is something the kernel knows."""
    try:
        sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    return True


def draw(speakers: list[dict[str, Any]], sheet: Sheet) -> None:
    """The table of everybody heard, findings below each."""
    from holdfast.sniff.words import name, rank
    from holdfast.sniff.words import seconds as span

    rows = []
    for one in speakers:
        every = span(one["interval_s"]) if "interval_s" in one else "-"
        heard = span(one["heard_interval_s"]["median"]) if one["heard_interval_s"] else "-"
        addresses = fitted(one.get("addresses", []), ADDRESSES_WIDE)
        rows.append((one["state"], name(one), rank(one), every, heard, str(one["adverts"]), addresses or "-"))
    columns = widths([HEADINGS, *rows])
    sheet.line()
    sheet.line(GAP.join(aligned(HEADINGS, columns)), "faint")
    for row, one in zip(rows, speakers, strict=True):
        cells = aligned(row, columns)
        sheet.line((sheet.paint(cells[0], STATE_COLOURS[row[0]]) + GAP + GAP.join(cells[1:])).rstrip())
        for problem in one["problems"]:
            sheet.wrapped(problem["text"], 5, "  !  ", "red")
