"""What of the manual is a table in the program: commands, options, keywords, exit statuses, signals, files."""

import re
import textwrap
from itertools import groupby
from pathlib import Path

import click

from holdfast.cli.keepalived import OPTIONS as KEEPALIVED_OPTIONS
from holdfast.cli.keepalived import WITHOUT_EFFECT
from holdfast.cli.main import COMMANDS, group
from holdfast.cli.parsing import Takes
from holdfast.config.keyword_page import argument_text
from holdfast.config.keywords import Block, Keyword, Status, Style, all_blocks
from holdfast.config.keywords_lines import LINES
from tools.manual.roff import bold, escape, example, filled, from_markdown, heading, italic, prose, term

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes-signals-files.md"

_PLACEHOLDER = re.compile(r"[A-Z][A-Z_.:]*")


def commands() -> list[str]:
    """Each command: how it is called, what it does, its options and examples."""
    whole = group()
    context = click.Context(whole, info_name="holdfast")
    lines = []
    for name in COMMANDS:
        command = whole.get_command(context, name)
        assert command is not None
        lines += _command(name, command, click.Context(command, info_name=name, parent=context))
    return lines


def _command(name: str, command: click.Command, context: click.Context) -> list[str]:
    pieces = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "[options]")
    lines = [heading(f"holdfast {name}", 2), *filled(f"{bold(f'holdfast {name}')} {_usage(pieces)}")]
    for paragraph in re.split(r"\n{2,}", re.sub(r"\n? *\x08\n", "\n\n\b\n", command.help or "").strip()):
        if paragraph.startswith("\b"):
            lines += _as_it_stands(paragraph.split("\n")[1:])
        else:
            lines += [".PP", *filled(prose(" ".join(paragraph.split())))]
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and "--help" not in parameter.opts:
            lines += term(_option(record[0]), _sentence(record[1]))
    return lines


def _as_it_stands(rows: list[str]) -> list[str]:
    """A paragraph that a help page doesn't fill: what is indented is an example, the rest are its headings."""
    rows = textwrap.dedent("\n".join(rows)).split("\n")
    lines: list[str] = []
    for indented, together in groupby(rows, lambda row: row.startswith("  ")):
        kept = list(together)
        lines += (
            example([row.removeprefix("  ") for row in kept]) if indented else [".PP", *filled(prose(" ".join(kept)))]
        )
    return lines


def _usage(pieces: str) -> str:
    """`[options] FILE`: what is put in for something in italics."""
    return "".join(
        italic(part) if _PLACEHOLDER.fullmatch(part) else escape(part) for part in re.split(r"([A-Z][A-Z_.:]*)", pieces)
    )


def _option(shown: str) -> str:
    """`-f, --file FILE` in its fonts."""
    words = []
    for word in shown.split():
        bare = word.rstrip(",")
        words.append((bold(bare) if bare.startswith("-") else italic(bare)) + word[len(bare) :])
    return " ".join(words)


def _sentence(text: str) -> str:
    """A help text, with a capital and a full stop; a default in brackets stays at its end."""
    whole = re.sub(r"^\[?[a-z]", lambda found: found[0].upper(), text)
    match = re.fullmatch(r"(.*?)\s*\[(default: .*)\]", whole)
    if match:
        return prose(f"{match[1].rstrip('.')}; {match[2]}.")
    return prose(whole if whole.endswith((".", "…", "!")) else f"{whole}.")


def keepalived_options() -> list[str]:
    """The options of `holdfast-keepalived`."""
    lines = []
    for option in KEEPALIVED_OPTIONS:
        names = [bold(f"-{option.letter}")] if option.letter else []
        argument = ""
        if option.takes is Takes.ARGUMENT:
            argument = "=" + italic(option.metavar)
        elif option.takes is Takes.OPTIONAL:
            argument = "[=" + italic(option.metavar) + "]"
        names.append(bold(f"--{option.name}") + argument)
        meaning = _sentence(option.meaning)
        if option.name in WITHOUT_EFFECT:
            meaning += " Without effect: " + prose(WITHOUT_EFFECT[option.name]) + "."
        lines += term(", ".join(names), meaning)
    return lines


def keywords() -> list[str]:
    """Every keyword of every block."""
    lines = []
    for block in (*all_blocks().values(), *LINES):
        lines += _block(block)
    return lines


def _block(block: Block) -> list[str]:
    lines = [heading("Outside any block" if block.name == "root" else block.name, 2)]
    if block.style is not Style.KEYWORDS:
        each = "word" if block.style is Style.WORDS else "line"
        return [*lines, *filled(prose(f"A list, each {each} an entry: {block.title}."))]
    if block.name != "root":
        lines += filled(_sentence(block.title))
    for keyword in block.keywords.values():
        lines += _keyword(keyword)
    return lines


def _keyword(keyword: Keyword) -> list[str]:
    shown = bold(keyword.name)
    arguments = " ".join(argument_text(arg) for arg in keyword.args)
    if arguments:
        shown += " " + italic(arguments)
    if keyword.opens:
        shown += " { }"
    said = _sentence(keyword.meaning)
    if keyword.default:
        said += " " + prose(f"Default: {keyword.default}.")
    if keyword.status is Status.PENDING:
        said += " " + italic("Not yet carried out.")
    elif keyword.status is Status.INERT:
        said += " " + italic("Accepted, without effect.")
    if keyword.deprecated:
        said += " Old: use " + bold(keyword.deprecated) + "."
    if keyword.ours:
        said += " Not a word of keepalived."
    return term(shown, said)


def section_of_reference(name: str) -> list[str]:
    """A section of the reference page of exit statuses, signals and files: its tables as terms, its prose as prose."""
    text = re.split(r"^## ", REFERENCE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = next(part for part in text if part.startswith(name + "\n")).partition("\n")[2]
    lines: list[str] = []
    for block in re.split(r"\n{2,}", found.strip()):
        if block.startswith("|"):
            lines += _table(block.split("\n")[2:])
        else:
            lines += from_markdown(block)
    return lines[1:] if lines[0] == ".PP" else lines


def _table(rows: list[str]) -> list[str]:
    """Two columns: terms. Three: the statuses of each command, below it."""
    lines: list[str] = []
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        cells = [cell.strip("| ") for cell in cells]
        if len(cells) == 2:
            lines += term(prose(cells[0]), _sentence(cells[1]))
            continue
        status = f"{bold(cells[1])}: {prose(cells[2])}"
        lines += term(prose(cells[0]), status) if cells[0] else [".br", *filled(status)]
    return lines
