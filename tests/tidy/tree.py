"""The source tree as the tidy tests read it: every module once, with its imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "holdfast"


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """One import: `holdfast.base.time` from line 3. `late`: inside a function; `typing`: under TYPE_CHECKING."""

    line: int
    module: str
    names: tuple[str, ...]
    late: bool
    typing: bool


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """One file below src/holdfast; `folder` is "" for the package itself."""

    path: Path
    text: str

    @property
    def shown(self) -> str:
        """The path as people write it."""
        return str(self.path.relative_to(ROOT))

    @property
    def folder(self) -> str:
        """`base`, `vrrp`, …"""
        parts = self.path.relative_to(SOURCE).parts
        return parts[0] if len(parts) > 1 else ""

    @property
    def syntax(self) -> ast.Module:
        """Its syntax tree."""
        return _parsed(self.path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the package, in the order of their paths."""
    return tuple(Module(path=path, text=path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py")))


def imports(syntax: ast.Module) -> list[Import]:
    """Every import of a module, wherever it stands."""
    return list(_imports(syntax, late=False, typing=False))


def _imports(node: ast.AST, *, late: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(line=child.lineno, module=alias.name, names=(), late=late, typing=typing)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: write the whole path of what is imported"
            assert child.module is not None
            names = tuple(alias.name for alias in child.names)
            yield Import(line=child.lineno, module=child.module, names=names, late=late, typing=typing)
        elif isinstance(child, ast.If):
            only_types = isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
            yield from _imports(child, late=late, typing=typing or only_types)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, late=late or inside, typing=typing)


def targets(found: Import) -> list[str]:
    """The modules an import of ours may load: `from holdfast.edge import loop` means holdfast.edge.loop."""
    if found.module in ("holdfast", *(f"holdfast.{path.parent.name}" for path in SOURCE.glob("*/__init__.py"))):
        below = [f"{found.module}.{name}" for name in found.names]
        return [name for name in below if _exists(name)] or [found.module]
    return [found.module]


def _exists(module: str) -> bool:
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists()
