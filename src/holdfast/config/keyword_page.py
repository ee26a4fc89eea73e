"""The reference page of keywords, from the table: `python -m holdfast.config.keyword_page`."""

import sys

from holdfast.config.keywords import Arg, Block, Keyword, Status, Style, all_blocks
from holdfast.config.keywords_lines import LINES
from holdfast.config.values import range_text

_HEAD = """# Configuration keywords

Every keyword holdfast knows, block by block. The language is that of keepalived.conf; words marked *ours* are not
known to keepalived. "later" means: known and checked, not yet carried out; `holdfast check` says so too.

This page is made from the table in `src/holdfast/config/keywords_*.py`.
"""
_KINDS = {
    "word": "WORD",
    "words": "WORD …",
    "path": "PATH",
    "ip": "IP",
    "interface": "IF",
    "bool": "on/off",
    "user": "USER [[:]GROUP]",
    "script": "SCRIPT",
    "command": "COMMAND",
    "escaped": "QUOTED",
    "gateway": "[inet/inet6] IP",
    "locked": "[lock] N",
    "locked_word": "[lock] WORD",
    "any_base": "N in any base",
}


def argument_text(arg: Arg) -> str:
    """How an argument is shown: its kind or its range, in brackets when it may be left out."""
    if arg.kind in ("uint", "int", "decimal"):
        unlimited = arg.high is None and not arg.low
        text = ("number" + (f" of {arg.unit}" if arg.unit else "")) if unlimited else range_text(arg)
    elif arg.kind == "choice":
        text = "/".join(arg.choices)
    else:
        text = _KINDS[arg.kind]
    return f"[{text}]" if arg.optional else text


def _row(keyword: Keyword) -> str:
    arguments = " ".join(argument_text(arg) for arg in keyword.args)
    if keyword.opens:
        arguments = f"{arguments} {{ }}".strip()
    notes = []
    if keyword.status is Status.PENDING:
        notes.append("later")
    elif keyword.status is Status.INERT:
        notes.append("no effect")
    if keyword.deprecated:
        notes.append(f"old: use {keyword.deprecated}")
    if keyword.ours:
        notes.append("*ours*")
    cells = (f"`{keyword.name}`", arguments, keyword.default, keyword.meaning, ", ".join(notes))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _section(block: Block) -> list[str]:
    title = "Outside any block" if block.name == "root" else block.name
    lines = ["", f"## {title}", ""]
    if block.style is not Style.KEYWORDS:
        each = "each word" if block.style is Style.WORDS else "each line"
        return [*lines, f"A list, {each} an entry: {block.title}."]
    if block.name != "root":
        lines += [f"{block.title}.", ""]
    lines += ["| keyword | arguments | default | meaning | |", "|---|---|---|---|---|"]
    return lines + [_row(keyword) for keyword in block.keywords.values()]


def page() -> str:
    """The whole page."""
    lines = [_HEAD.rstrip()]
    for block in (*all_blocks().values(), *LINES):
        lines += _section(block)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
