"""How core is built: one noun a file, imports one way, nothing but the standard library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import missive

SOURCE = Path(missive.__file__).parent

#: Each module may import those before it.
ORDER = [
    "__about__",
    "loggers",
    "errors",
    "state",
    "messages",
    "frozen",
    "capabilities",
    "adapter",
    "letters",
    "matching",
    "hooks",
    "settlement",
    "contexts",
    "testing",
    "processor",
    "shutdown_handler",
    "wakeup",
    "workers",
    "receiving",
    "polling",
    "urls",
]


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Give (level, module) of every import that happens at run time."""
    found: list[tuple[int, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.extend((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


#: The same for the modules of missive.letters.
LETTERS_ORDER = [
    "texts",
    "tracebacks",
    "letter",
    "filters",
    "claim",
    "choice",
    "summary",
    "mapping",
    "store",
    "timeline",
    "shelf",
    "memory",
]


def core_modules() -> list[Path]:
    """Give the modules of core alone; other distributions may be installed beside it."""
    top = [p for p in SOURCE.glob("*.py") if p.name not in ("__init__.py", "missive.py")]
    return sorted(top)


def test_imports_run_one_way() -> None:
    """A module imports only those before it in the order."""
    for path in core_modules():
        if path.stem not in ORDER:
            continue
        for level, module in imports_of(path):
            if level:
                assert ORDER.index(module) < ORDER.index(path.stem), f"{path.stem} -> {module}"


def test_letters_import_one_way_and_only_nouns() -> None:
    """A module of missive.letters imports those before it, and from the rest of core only nouns."""
    for path in (SOURCE / "letters").glob("*.py"):
        for level, module in imports_of(path):
            if level == 1 and path.stem != "__init__":
                order = LETTERS_ORDER.index(module), LETTERS_ORDER.index(path.stem)
                assert order[0] < order[1], f"{path.stem} -> {module}"
            elif level == 2:
                assert module in ("__about__", "errors", "messages"), f"{path.stem} -> {module}"


def test_core_imports_the_standard_library_only() -> None:
    """Core depends on nothing."""
    for path in [*core_modules(), *SOURCE.glob("adapters/*.py"), *SOURCE.glob("letters/*.py")]:
        for level, module in imports_of(path):
            if not level:
                assert module.partition(".")[0] in sys.stdlib_module_names, f"{path}: {module}"


def test_every_public_name_is_listed_and_every_listed_name_is_there() -> None:
    """__all__ is the table of contents."""
    for name in missive.__all__:
        assert hasattr(missive, name)
    errors = vars(missive.errors).values()
    kinds = [e for e in errors if isinstance(e, type) and issubclass(e, missive.MissiveError)]
    assert len(kinds) > 20
    for kind in kinds:
        assert kind.__name__ in missive.__all__
