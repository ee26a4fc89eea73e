"""`holdfast check`: every problem of a configuration, with its place, cure and consequence."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.base.problem import Problem
    from holdfast.config.check import Checked

_COLOURS = {"error": "31;1", "warning": "33", "advice": "36"}
_VERDICTS = {
    "ok": "can be used",
    "runs": "can be used, without the faulty parts",
    "refused": "can't be used",
}


@click.command("check")
@click.option("--strict", is_flag=True, help="Refuse a file with any problem but advice.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document a file.")
@click.option("-i", "--config-id", default="", help="What @ID lines are compared with (default: the host's name).")
@click.argument("files", nargs=-1, required=True, type=click.Path())
def command(strict: bool, as_json: bool, config_id: str, files: tuple[str, ...]) -> None:
    """Show every problem of each FILE, and whether it would run.

    \b
    Examples:
      holdfast check /etc/keepalived/keepalived.conf
      holdfast check --strict a.conf b.conf && echo "fit to be rolled out"
      holdfast check --json a.conf | jq -r '.problems[] | "\\(.line): \\(.what)"'

    Ends with 0 when every file can be used, with 1 when one can't (or, with --strict, has any error or warning).
    """
    from holdfast.config.check import Environment, check_file

    environment = Environment(config_id=config_id)
    failed = False
    for path in files:
        outcome = check_file(path, environment=environment)
        failed |= outcome.verdict == "refused"
        failed |= strict and any(problem.grade != "advice" for problem in outcome.problems)
        _write(_json_text(outcome) if as_json else _text(outcome, colour=sys.stdout.isatty()))
    sys.exit(1 if failed else 0)


def _write(text: str) -> None:
    """Text to standard output, whatever characters a configuration held."""
    stream = sys.stdout
    octets = text.encode(stream.encoding or "utf-8", "backslashreplace")
    stream.flush()
    try:
        stream.buffer.write(octets)
        stream.buffer.flush()
    except BrokenPipeError:
        sys.exit(1)


def _json_text(outcome: "Checked") -> str:
    import msgspec

    from holdfast.config.check import document

    return msgspec.json.encode(document(outcome)).decode() + "\n"


def _text(outcome: "Checked", *, colour: bool) -> str:
    shown = [_problem_text(problem, colour=colour) for problem in outcome.problems]
    counts = dict.fromkeys(_COLOURS, 0)
    for problem in outcome.problems:
        counts[problem.grade] += 1
    numbers = ", ".join(_count(number, grade) for grade, number in counts.items() if number)
    running = [_count(len(rows), kind.removesuffix("s").replace("_", " ")) for kind, rows in outcome.would_run.items()
               if rows]  # fmt: skip
    would = f"; would run {', '.join(running)}" if running else ""
    shown.append(f"{outcome.file}: {_VERDICTS[outcome.verdict]}: {numbers or 'no problems'}{would}")
    return "\n".join(shown) + "\n"


def _count(number: int, grade: str) -> str:
    if grade in ("advice", "bfd"):
        return f"{number} {grade}"
    return f"{number} {grade}{'' if number == 1 else 's'}"


def _problem_text(problem: "Problem", *, colour: bool) -> str:
    text = problem.text()
    if not colour:
        return text
    grade = str(problem.grade)
    return text.replace(f" {grade}: ", f" \x1b[{_COLOURS[grade]}m{grade}\x1b[0m: ", 1)


if __name__ == "__main__":
    command()
