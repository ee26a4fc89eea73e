"""The shape of every module: short enough to see whole, told in its first line, finished, and at home anywhere."""

import ast
import re
import subprocess

import pytest

from tests.tidy.tree import ROOT, Module, modules

FUNCTION_LINES = 70
MODULE_LINES = 600
TEXT = {".py", ".md", ".toml", ".sh", ".conf", ".service", ".json", ".jsonl", ".txt", ".yml", ""}

UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
THIS_MACHINE = re.compile(r"/wo" r"rk/|/ho" r"me/[a-z]|/Us" r"ers/")


def tracked() -> list[str]:
    """Every text file that git keeps, as paths below the root; without git, every file of the source tree."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or [module.shown for module in modules()]
    return [name for name in names if (ROOT / name).suffix in TEXT and (ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every tracked line with `pattern` in it."""
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a test's input that is meant to be strange
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1)
                  if pattern.search(line)]  # fmt: skip
    return found


def long_functions(module: Module) -> list[str]:
    """The functions one cannot see whole, counted from `def` to the last line."""
    return [
        f"{module.shown}:{node.lineno}: {node.name} has {span} lines, at most {FUNCTION_LINES} may be"
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (span := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


def test_every_module_says_what_it_is() -> None:
    assert not [module.shown for module in modules() if not ast.get_docstring(module.syntax)]


def test_every_public_class_and_function_says_what_it_is() -> None:
    silent = [
        f"{module.shown}:{node.lineno}: {node.name}"
        for module in modules()
        for node in module.syntax.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, "\n" + "\n".join(silent)


def test_no_function_is_too_long_to_see_whole() -> None:
    lines = [line for module in modules() for line in long_functions(module)]
    assert not lines, "\n" + "\n".join(lines)


def test_no_module_is_too_long() -> None:
    lines = [
        f"{module.shown} has {length} lines, at most {MODULE_LINES} may be"
        for module in modules()
        if (length := len(module.text.splitlines())) > MODULE_LINES
    ]
    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize("pattern", [UNFINISHED, THIS_MACHINE], ids=["unfinished", "a path of one machine"])
def test_no_line_has(pattern: re.Pattern[str]) -> None:
    lines = lines_with(pattern)
    assert not lines, "\n" + "\n".join(lines)


def test_the_checks_find_what_they_are_for() -> None:
    long = "def f():\n" + "    pass\n" * FUNCTION_LINES
    [function] = ast.parse(long).body
    assert isinstance(function, ast.FunctionDef)
    assert (function.end_lineno or 0) - function.lineno + 1 == FUNCTION_LINES + 1
    assert UNFINISHED.search("# TO" + "DO: later")
    assert THIS_MACHINE.search("see /wo" + "rk/main")
    assert not THIS_MACHINE.search("see /usr/local/bin and network/home")
