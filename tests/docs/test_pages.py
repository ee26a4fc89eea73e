"""What the pages say is so: links lead somewhere, configurations pass the check, commands and options exist."""

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from holdfast.cli.keepalived import OPTIONS as KEEPALIVED_OPTIONS
from holdfast.cli.main import COMMANDS, group
from holdfast.config.check import check_file
from tests.docs.pages import PAGES, ROOT, blocks, commands, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FIRST_SCREEN = 40


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        targets = [target.partition("#")[0] for target in _LINK.findall(prose(page)) if "://" not in target]
        waiting += [(page.parent / target).resolve() for target in targets if target]
    assert set(PAGES) <= reached


def test_the_readme_begins_with_a_configuration_the_command_and_its_output() -> None:
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:FIRST_SCREEN]
    assert "```conf" in screen
    assert any(line.startswith("# holdfast run") for line in screen)
    assert any(line.startswith("MASTER") for line in screen)
    assert any(line.startswith("BACKUP") for line in screen)


WHOLE = [(page, number, code.text) for page in PAGES for number, code in enumerate(blocks(page))
         if code.language == "conf" and code.text.startswith("vrrp_instance")]  # fmt: skip


@pytest.mark.parametrize(("page", "number", "text"), WHOLE, ids=[f"{shown(page)}-{number}" for page, number, _ in WHOLE])
def test_a_whole_configuration_has_no_problem(page: Path, number: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "keepalived.conf").write_text(text)
    checked = check_file(str(tmp_path / "keepalived.conf"))
    assert (checked.verdict, checked.problems) == ("ok", ())
    assert len(checked.would_run["instances"]) == 1


REST = "    interface eth0\n    virtual_router_id 51\n    virtual_ipaddress {\n        192.0.2.100/24\n    }\n"
PARTS = [(page, number, code.text) for page in PAGES for number, code in enumerate(blocks(page))
         if code.language == "conf" and not code.text.startswith("vrrp_instance")]  # fmt: skip


@pytest.mark.parametrize(("page", "number", "text"), PARTS, ids=[f"{shown(page)}-{number}" for page, number, _ in PARTS])
def test_a_part_of_a_configuration_is_understood(page: Path, number: int, text: str, tmp_path: Path) -> None:
    """Parts that begin with spaces stand inside an instance; scripts and directories they name are not on this host.

    A line `…` stands for the rest of an instance.
    """
    text = text.replace("    …\n", REST)
    if text.startswith(" "):
        text = (
            "vrrp_script web_answers {\n    script /usr/bin/true\n}\n"
            "vrrp_instance web {\n" + REST + text + "}\n"
        )
    (tmp_path / "keepalived.conf").write_text(text)
    allowed = ("there is no directory", "can't be run", "scripts are run, and", "nobody tracks", "is holdfast's own", "No such file")
    wrong = [
        msgspec.to_builtins(problem)
        for problem in check_file(str(tmp_path / "keepalived.conf")).problems
        if not any(words in problem.what for words in allowed)
    ]
    assert not wrong


def options_of(command: str) -> set[str]:
    """The options of one of holdfast's commands."""
    import click

    commands = group()
    found = commands.get_command(click.Context(commands), command)
    assert found is not None
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}


def refusal(line: str) -> str:
    """Why a command line of ours can't be given; "" when it can, or isn't ours."""
    words = shlex.split(line.partition(" #")[0].rstrip("&"), posix=True)
    words[0] = words[0].removeprefix("/opt/holdfast/bin/")
    match words:
        case ["holdfast", "--version" | "--help", *_]:
            return ""
        case ["holdfast", command, *rest]:
            if command not in COMMANDS:
                return f"no command {command}"
            known = options_of(command)
        case ["holdfast-keepalived", *rest]:
            known = {f"--{option.name}" for option in KEEPALIVED_OPTIONS}
            known |= {f"-{option.letter}" for option in KEEPALIVED_OPTIONS if option.letter}
        case ["make", *rest]:
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return " ".join(word for word in rest if word not in targets and word != "…")
        case _:
            return ""
    rest = rest[: rest.index("|")] if "|" in rest else rest
    return " ".join(word for word in rest if word.startswith("-") and word.partition("=")[0] not in known)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_command_shown_exists(page: Path) -> None:
    wrong = [(line, why) for line in commands(page) if (why := refusal(line))]
    assert not wrong


@pytest.mark.parametrize(
    "line",
    ["holdfast stauts", "holdfast status --jsn", "holdfast-keepalived --nope", "make coffee"],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    assert refusal(line)


def test_paths_of_tests_and_sources_that_are_named_exist() -> None:
    """`tests/edge/test_notify.py::test_x`, `kernel/bpf.py`: in the pages about the source."""
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path, test in re.findall(r"\b(tests/[\w/]+\.py)(?:::(\w+))?", text):
            if not (ROOT / path).exists() or (test and f"def {test}(" not in (ROOT / path).read_text()):
                missing.append(f"{shown(page)}: {path} {test}")
        for path in re.findall(r"`((?:base|vrrp|track|config|engine|kernel|edge|daemon|control|cli|export|lab)/\w+\.py)", text):
            if not (ROOT / "src/holdfast" / path).exists():
                missing.append(f"{shown(page)}: {path}")
    assert not missing


def test_names_after_a_source_file_stand_in_it() -> None:
    """`edge/adverts.py: Adverts.watch` names something that is there."""
    missing = []
    for page in PAGES:
        for path, name in re.findall(r"`(\w+/\w+\.py): (\w+(?:\.\w+)?)", page.read_text(encoding="utf-8")):
            source = (ROOT / "src/holdfast" / path).read_text(encoding="utf-8")
            if not all(re.search(rf"\b{part}\b", source) for part in name.split(".")):
                missing.append(f"{shown(page)}: {path}: {name}")
    assert not missing


def test_no_configuration_goes_unchecked() -> None:
    """A block that looks like one is marked as one."""
    words = r"\s*(vrrp_|carp_|bfd_)?(instance|script|sync_group|track_\w+|virtual_server|global_defs|virtual_ipaddress)\b[^\n]*\{"
    unmarked = [(shown(page), code.text) for page in PAGES for code in blocks(page) if not code.language and re.match(words, code.text)]
    assert not unmarked
