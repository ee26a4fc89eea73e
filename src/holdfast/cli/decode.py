"""`holdfast decode`: the packets of a capture file, a line each."""

import json
from typing import TYPE_CHECKING, BinaryIO

import click

from holdfast.cli.drawing import Sheet

if TYPE_CHECKING:
    from holdfast.dissect.layers import Frame
    from holdfast.dissect.pcap import Record
    from holdfast.dissect.secrets import Secrets

KIND_COLOURS = {"vrrp": "green", "carp": "green", "bfd": "cyan", "garp": "yellow", "na": "yellow"}
LINES_AT_ONCE = 256


@click.command("decode", short_help="the packets of a capture file, a line each")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--secrets", "secrets_file", type=click.Path(), metavar="FILE", help="passwords and keys, as JSON")
@click.option("--all", "show_all", is_flag=True, help="show frames of other protocols too")
@click.option("--json", "as_json", is_flag=True, help="one JSON document a packet, for programs")
def command(file: str, secrets_file: str | None, show_all: bool, as_json: bool) -> None:
    """Show the VRRP, CARP, BFD, ARP and neighbour packets of FILE (pcap or pcapng; - for standard input).

    \b
    Examples:
      tcpdump -i eth0 -w FILE.pcap ip proto 112 or ip6 proto 112 or arp
      holdfast decode FILE.pcap
      holdfast decode FILE.pcap --secrets keys.json --json

    What is wrong with a packet stands behind a ! at the end of its line. Ends with 1 when FILE can't be read, or from
    some place on.
    """
    from holdfast.dissect.frame import dissect
    from holdfast.dissect.pcap import Unreadable, read_capture

    secrets = secrets_from(secrets_file)
    sheet = Sheet()
    others = 0
    started_ns: int | None = None
    trouble = ""
    at_once = 1 if file == "-" else LINES_AT_ONCE  # somebody may be capturing at this moment
    with open_capture(file) as stream:
        try:
            for record in read_capture(stream):
                started_ns = record.time_ns if started_ns is None else started_ns
                frame = dissect(record.link_type, record.octets, secrets)
                if frame.kind == "other" and not show_all and not frame.problems:
                    others += 1
                    continue
                time_ns = record.time_ns - started_ns
                sheet.line(as_line(record, time_ns, frame) if as_json else text_line(record, time_ns, frame, sheet))
                if len(sheet.lines) >= at_once:
                    sheet.flush()
        except Unreadable as reason:
            trouble = str(reason)
        except KeyboardInterrupt:
            pass
    sheet.flush()
    if others and not as_json:
        click.echo(f"{others} frames of other protocols left out (--all shows them)", err=True)
    if trouble:
        click.echo(f"holdfast: {file}: {trouble}", err=True)
        raise SystemExit(1)


def open_capture(file: str) -> BinaryIO:
    """The file, or standard input for `-`; ends the command when it can't be opened."""
    try:
        return click.open_file(file, "rb")  # type: ignore[return-value]
    except OSError as refused:
        click.echo(f"holdfast: {file}: {refused.strerror}", err=True)
        raise SystemExit(1) from None


def secrets_from(path: str | None) -> "Secrets":
    """The passwords and keys of a file; ends the command when they can't be read."""
    from holdfast.dissect.secrets import Secrets, read_secrets

    if path is None:
        return Secrets()
    try:
        with open(path, "rb") as file:
            return read_secrets(file.read())
    except OSError as refused:
        click.echo(f"holdfast: {path}: {refused.strerror}", err=True)
    except ValueError as wrong:
        click.echo(f"holdfast: {path}: {wrong}", err=True)
    raise SystemExit(1)


def as_line(record: "Record", time_ns: int, frame: "Frame") -> str:
    """One packet as JSON; `problems` only when there are any."""
    from holdfast.dissect.fields import fields

    document = {"frame": record.frame, "time_s": time_ns / 1e9, "kind": frame.kind, "fields": fields(frame)}
    if frame.problems:
        document["problems"] = list(frame.problems)
    return json.dumps(document)


def text_line(record: "Record", time_ns: int, frame: "Frame", sheet: Sheet) -> str:
    """One packet for people: number, time, what it says, what is wrong with it."""
    from holdfast.dissect.words import line

    said = sheet.paint(line(frame), KIND_COLOURS.get(frame.kind, ""))
    wrong = sheet.paint(f"  ! {'; '.join(frame.problems)}", "red") if frame.problems else ""
    return f"{record.frame:>5} {time_ns / 1e9:>11.6f}  {said}{wrong}"
