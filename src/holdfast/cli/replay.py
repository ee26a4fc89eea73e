"""`holdfast replay`: a recording, decided again."""

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.cli.drawing import Sheet

if TYPE_CHECKING:
    from holdfast.engine.explain import Transition
    from holdfast.engine.replay import Difference, Header, Outcome, Recording

LAST_NS: Nanoseconds = 250_000_000_000 * SECOND
"""The end of the year 9892: past 9999 Python knows no dates."""


@click.command("replay", short_help="a recording, decided again; --explain says why each state changed")
@click.argument("file", type=click.Path())
@click.option("--explain", is_flag=True, help="every transition: the event, the state before, the rule")
@click.option("--from", "since", metavar="TIME", help="explain from 14:05, 14:05:10, 2026-07-01T14:05 or 10m back on")
@click.option("--instance", metavar="NAME", help="explain this instance only")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
def command(file: str, explain: bool, since: str | None, instance: str | None, as_json: bool) -> None:
    """Give the events of the recording FILE to a new engine, and see whether it decides the same.

    \b
    Examples:
      holdfast replay /run/holdfast/holdfast.rec
      holdfast replay before.rec --explain
      holdfast replay before.rec --explain --instance web --from 14:05

    No daemon is asked and nothing is sent. Ends with 0 when all was decided the same again, with 1 when something was
    decided otherwise or FILE can't be read.
    """
    from holdfast.engine.replay import BadRecordingError, read, replay, restored

    try:
        with open(file, "rb") as source:
            recording = read(source.read())
        header = recording.header
        first = since_ns(since, header)
        names = {config.name for plan in recording.plans.values() for config in plan.instances}
        if instance is not None and instance not in names:
            known = ", ".join(sorted(names)) or "none"
            raise BadRecordingError(f"there is no instance {instance} in it: it has {known}")
        from holdfast.engine.explain import ExplainedEngine, event_text, transitions

        engine = restored(recording, ExplainedEngine)
    except OSError as refused:
        _end(f"{file} can't be read: {refused.strerror}")
    except BadRecordingError as reason:
        _end(f"{file} can't be replayed: {reason}")
    found: list[Transition] = []

    def on_event(event: Any, now: Nanoseconds, effects: list[Any]) -> None:
        for one in transitions(engine, event, now, effects, lambda at: clock(header, at)):
            if now >= first and instance in (None, one.instance):
                found.append(one)

    outcome = replay(recording, engine, on_event)
    difference = outcome.difference
    event = event_text(engine, difference.event) if difference is not None else ""
    if as_json:
        click.echo(json.dumps(_document(file, recording, outcome, event, found if explain else None)))
    else:
        sheet = Sheet()
        if explain:
            _draw_transitions(found, sheet)
        _draw_outcome(recording, outcome, event, sheet)
        sheet.flush()
    raise SystemExit(1 if difference is not None else 0)


def _end(why: str) -> None:
    click.echo(f"holdfast: {why}", err=True)
    raise SystemExit(1)


# ---- time -----------------------------------------------------------------------------------------------------------


def moment(header: "Header", at: Nanoseconds) -> datetime:
    """A moment of the recording as wall time here."""
    wall_ns = min(max(header.wall_ns - (header.monotonic_ns - at), 0), LAST_NS)  # a damaged one may say anything
    return datetime.fromtimestamp(wall_ns // SECOND).astimezone() + timedelta(microseconds=wall_ns % SECOND // 1000)


def clock(header: "Header", at: Nanoseconds) -> str:
    """The same as text: the time of day, and the day where it is not the day of writing."""
    then = moment(header, at)
    same_day = then.date() == moment(header, header.monotonic_ns).date()
    return then.strftime("%H:%M:%S." if same_day else "%Y-%m-%d %H:%M:%S.") + f"{then.microsecond // 1000:03}"


def since_ns(words: str | None, header: "Header") -> Nanoseconds:
    """`--from` as a moment of the recording's own clock; a usage error when it is no time."""
    from holdfast.cli.switch import seconds

    if words is None:
        return 0
    written = moment(header, header.monotonic_ns)
    if re.fullmatch(r"\d+(\.\d+)?\s*(s|m|min|h|d)", words):
        return header.monotonic_ns - round((seconds(None, None, words) or 0) * SECOND)
    found = re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?", words)
    try:
        if found:
            second = float(found[3] or 0)
            then = written.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
            then += timedelta(seconds=second)
            then -= timedelta(days=1 if then > written else 0)
        else:
            then = datetime.fromisoformat(words).astimezone()
    except ValueError:
        raise click.UsageError(f"--from {words} is no time: write 14:05, 14:05:10.5, 2026-07-01T14:05 or 10m") from None
    return header.monotonic_ns - round((written - then).total_seconds() * SECOND)


# ---- what is shown --------------------------------------------------------------------------------------------------


def shown(value: Any) -> Any:
    """A value of a recording as JSON has it: addresses as text."""
    from holdfast.base.address import Address, text

    if isinstance(value, bytes):
        return text(Address(value)) if len(value) in (4, 16) else value.hex()
    if isinstance(value, dict):
        return {str(key): shown(inner) for key, inner in value.items()}
    return [shown(inner) for inner in value] if isinstance(value, list | tuple) else value


def _difference(recording: "Recording", difference: "Difference", event: str) -> dict[str, Any]:
    return {
        "number": difference.number,
        "time": moment(recording.header, difference.now).isoformat(timespec="milliseconds"),
        "what": difference.what,
        "event": event,
        "recorded": shown(difference.recorded),
        "replayed": shown(difference.replayed),
    }


def _document(
    file: str, recording: "Recording", outcome: "Outcome", event: str, found: "list[Transition] | None"
) -> dict[str, Any]:
    import msgspec

    difference = outcome.difference
    document = {
        "file": file,
        "header": msgspec.to_builtins(recording.header),
        "events": outcome.events,
        "span_s": outcome.span_ns / SECOND,
        "same": difference is None,
        "crashed": outcome.crashed,
        "damage": recording.damage,
        "difference": _difference(recording, difference, event) if difference is not None else None,
    }
    if found is not None:
        told = [{**msgspec.to_builtins(one), "then": list(one.then)} for one in found]
        times = [moment(recording.header, one.now).isoformat(timespec="milliseconds") for one in found]
        document["transitions"] = [{**one, "time": time} for one, time in zip(told, times, strict=True)]
    return document


def _draw_transitions(found: "list[Transition]", sheet: Sheet) -> None:
    for one in found:
        colour = {"MASTER": "green", "BACKUP": "cyan", "FAULT": "red"}.get(one.became, "")
        sheet.line(f"{one.time}  {one.instance}: {one.was} → {one.became}", colour)
        for title, words in (
            ("because", one.cause),
            ("event", one.event),
            ("before", one.before),
            ("standing", one.standing),
            ("rule", f"{one.rule} [{one.row}]"),
            ("then", ", ".join(one.then)),
        ):
            if words:
                sheet.wrapped(words, 14, f"    {title}")
    if not found:
        sheet.line("no state changed in that time")
    sheet.line()


def _draw_outcome(recording: "Recording", outcome: "Outcome", event: str, sheet: Sheet) -> None:
    from holdfast import __version__

    header = recording.header
    sheet.line(f"{header.node}, holdfast {header.version}, written {header.time}: {header.reason}", "faint")
    if header.version != __version__:
        sheet.line(f"replayed by holdfast {__version__}: where the two differ, so may what they decide", "yellow")
    if recording.damage:
        sheet.line(f"{recording.damage}: what can be read of it is replayed", "yellow")
    what = f"{outcome.events:,} events over {span_text(outcome.span_ns)}"
    difference = outcome.difference
    if difference is None and outcome.crashed:
        sheet.line(f"{what}, decided the same again, and failed again over the last: {outcome.crashed}", "red")
        return
    if difference is None:
        sheet.line(f"{what}, decided the same again", "green")
        return
    sheet.line(f"decided otherwise at event {difference.number:,}, {clock(header, difference.now)}", "red")
    sheet.wrapped(event, 14, "    event")
    sheet.wrapped(difference.what, 14, "    what")
    for title, effects in (("recorded", difference.recorded), ("replayed", difference.replayed)):
        for index, effect in enumerate(shown(effects) or ["nothing" if effects is not None else "failed"]):
            words = effect if isinstance(effect, str) else " ".join(f"{key}={inner}" for key, inner in effect.items())
            sheet.wrapped(words.removeprefix("type="), 14, f"    {title}" if index == 0 else "")
