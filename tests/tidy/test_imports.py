"""Imports point one way, and the daemon stays small: each line that breaks this is named.

    base ← vrrp, track ← config ← engine ← edge, control, export, lab, sim ← daemon ← cli (inside its commands)
    base ← kernel ← edge
    base ← check ← edge
    base, vrrp, carp, bfd ← dissect ← sniff ← cli (inside its commands)
"""

import ast

import pytest

from tests.tidy.tree import Import, Module, imports, modules, targets

DOMAINS = {"vrrp", "track", "carp", "bfd", "check", "lvs"}
BELOW_EDGE = {"base", "config", "engine"} | DOMAINS

MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "base": set(),
    "vrrp": {"base", "track", "carp"},
    "track": {"base", "vrrp"},
    "carp": {"base", "vrrp"},
    "bfd": {"base"},
    "check": {"base"},
    "lvs": {"base"},
    "dissect": {"base", "vrrp", "carp", "bfd"},
    "sniff": {"base", "dissect", "vrrp", "carp", "bfd"},
    "config": {"base"} | DOMAINS,
    "engine": {"base", "config"} | DOMAINS,
    "kernel": {"base"},
    "edge": BELOW_EDGE | {"kernel"},
    "control": BELOW_EDGE | {"edge", "kernel"},
    "export": BELOW_EDGE | {"control"},
    "sim": BELOW_EDGE,
    "lab": BELOW_EDGE | {"edge", "kernel", "control", "sim"},
    "doctor": BELOW_EDGE | {"kernel"},
    "who": BELOW_EDGE | {"kernel"},
    "daemon": BELOW_EDGE | {"edge", "kernel", "control", "export", "who"},
    "cli": BELOW_EDGE | {"edge", "kernel", "control", "export", "lab", "sim", "daemon", "doctor", "who", "dissect", "sniff"},
}
"""What each folder may import besides itself, at any depth of indentation."""

CLI_AT_START = {"holdfast", "holdfast.control.client", "holdfast.control.messages", "holdfast.daemon.options"}
"""What a module of cli/ may import when it is loaded, besides base/ and its neighbours."""

HEAVY = {"asyncio", "logging", "dataclasses", "subprocess", "ipaddress", "click", "rich", "pyroute2"}
LIGHT_FOLDERS = {"base", "vrrp", "track", "carp", "bfd", "check", "lvs", "config", "engine", "kernel", "edge", "control", "export", "daemon"}
"""Where nothing heavy may be imported: it would cost the daemon its start-up time or its memory."""

OUTSIDE_WORLD = {"time", "socket", "os", "random", "secrets", "select", "selectors", "signal", "threading", "pathlib",
                 "io", "tempfile", "shutil", "glob", "datetime", "mmap", "fcntl", "ctypes"}  # fmt: skip
PURE_FOLDERS = {"base", "vrrp", "track", "carp", "bfd", "check", "lvs", "config", "engine", "dissect", "sniff", "sim"}
MAY_ASK = {
    "src/holdfast/base/address.py": {"socket": {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}},
    "src/holdfast/sim/wire.py": {"random": {"Random"}},
    "src/holdfast/sim/world.py": {"random": {"Random"}},
    "src/holdfast/sim/clusters.py": {"random": {"Random"}},
    "src/holdfast/sim/life.py": {"random": {"Random"}},
    "src/holdfast/sim/carp_lives.py": {"random": {"Random"}},
    "src/holdfast/sim/soak.py": {"time": {"monotonic"}},
    "src/holdfast/config/disk.py": {"os": set[str](), "socket": set[str](), "glob": set[str]()},
}
"""Exceptions: text to address by the C library; chance from a seed; the one place where reading asks the machine."""


def broken_direction(module: Module) -> list[str]:
    """The lines of a module that import against the direction."""
    lines = []
    allowed = MAY_IMPORT[module.folder] | {module.folder, ""}
    for found in imports(module.syntax):
        for target in targets(found):
            parts = target.split(".")
            if parts[0] == "holdfast" and len(parts) > 1 and parts[1] not in allowed:
                lines.append(_line(module, found, f"{module.folder}/ may not import {parts[1]}/"))
    return lines


def broken_machines(module: Module) -> list[str]:
    """The lines by which one domain reaches into another's machine."""
    return [
        _line(module, found, "a domain may not know another domain's machine")
        for found in imports(module.syntax)
        for target in targets(found)
        for other in DOMAINS - {module.folder}
        if module.folder in DOMAINS and target.startswith(f"holdfast.{other}.machine")
    ]


def broken_cli(module: Module) -> list[str]:
    """The lines that make a command slow to start: imports at module level of more than the client."""
    if module.folder != "cli":
        return []
    return [
        _line(module, found, "at module level cli/ imports only base/, control/client and cli/: move it into the command")
        for found in imports(module.syntax)
        if not found.late and not found.typing
        for target in targets(found)
        if target.startswith("holdfast")
        and target not in CLI_AT_START
        and not target.startswith(("holdfast.base", "holdfast.cli"))
    ]


APART = ("src/holdfast/export/dbus.py", "src/holdfast/export/web")
"""What lives in a process of its own, and there only when asked for."""


def broken_weight(module: Module) -> list[str]:
    """The lines that load something heavy into the daemon."""
    if module.folder not in LIGHT_FOLDERS or module.shown.startswith(APART):
        return []
    return [
        _line(module, found, f"{module.folder}/ runs in the daemon, which must stay small")
        for found in imports(module.syntax)
        if found.module.split(".")[0] in HEAVY and not found.typing
    ]


def broken_purity(module: Module) -> list[str]:
    """The lines by which a pure module reaches the outside world."""
    if module.folder not in PURE_FOLDERS:
        return []
    asked = MAY_ASK.get(module.shown, {})
    lines = []
    for found in imports(module.syntax):
        root = found.module.split(".")[0]
        if root not in OUTSIDE_WORLD or found.typing:
            continue
        if root not in asked:
            lines.append(_line(module, found, f"{module.folder}/ is pure: {root} belongs to edge/"))
        elif asked[root]:
            used = set(found.names) | _attributes(module.syntax, root)
            for name in sorted(used - asked[root]):
                lines.append(_line(module, found, f"of {root} only {', '.join(sorted(asked[root]))} may be used: {name}"))
    return lines


def _attributes(syntax: ast.Module, name: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(syntax)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def _line(module: Module, found: Import, why: str) -> str:
    return f"{module.shown}:{found.line}: {found.module}: {why}"


@pytest.mark.parametrize(
    "broken", [broken_direction, broken_machines, broken_cli, broken_weight, broken_purity], ids=lambda f: f.__name__
)
def test_no_module_breaks_the_rule(broken: object) -> None:
    assert callable(broken)
    lines = [line for module in modules() for line in broken(module)]
    assert not lines, "\n" + "\n".join(lines)


def test_every_folder_has_its_rule() -> None:
    assert {module.folder for module in modules()} == MAY_IMPORT.keys()


def test_the_direction_is_one_way() -> None:
    """No two folders may import each other; vrrp, track and carp share words, never machines."""
    both = {
        tuple(sorted((one, other)))
        for one, allowed in MAY_IMPORT.items()
        for other in allowed
        if one in MAY_IMPORT[other]
    }
    assert both == {("carp", "vrrp"), ("track", "vrrp")}


@pytest.mark.parametrize(
    ("path", "source", "broken", "said"),
    [
        ("vrrp/machine.py", "import holdfast.engine.engine\n", broken_direction, "vrrp/ may not import engine/"),
        ("kernel/netlink.py", "def f():\n    from holdfast.vrrp import config\n", broken_direction, ":2: holdfast.vrrp"),
        ("track/machine.py", "from holdfast.vrrp import machine\n", broken_machines, "another domain's machine"),
        ("cli/status.py", "from holdfast.daemon.main import run\n", broken_cli, "move it into the command"),
        ("edge/loop.py", "def f():\n    import subprocess\n", broken_weight, ":2: subprocess"),
        ("engine/engine.py", "from time import monotonic_ns\n", broken_purity, "engine/ is pure"),
        ("base/address.py", "import socket\ns = socket.socket()\n", broken_purity, "may be used: socket"),
    ],
)
def test_a_broken_rule_is_named(path: str, source: str, broken: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above find what they are for."""
    from tests.tidy import tree

    monkeypatch.setattr(tree, "_parsed", lambda _: ast.parse(source))
    assert callable(broken)
    [line] = broken(Module(path=tree.SOURCE / path, text=source))
    assert said in line
