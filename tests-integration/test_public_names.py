"""What one distribution takes from the core is public."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "packages" / "missive-core" / "src"
#: Modules whose names other distributions may use: those in ``__all__``, and no other.
PUBLIC = (
    "missive",
    "missive.errors",
    "missive.letters",
    "missive.polling",
    "missive.testing",
    "missive.webhooks",
    "missive.webhooks.answers",
    "missive.webhooks.challenges",
    "missive.webhooks.senders",
    "missive.webhooks.serving",
    "missive.webhooks.signatures",
    # Named by the documentation since 0.8.1, or in its manner.
    "missive.adapters.deferred",
    "missive.adapters.replay",
    "missive.adapters.stdin",
    "missive.messages",
    "missive.missive",
    "missive.shutdown_handler",
    "missive.state",
)


def is_of_core(module: str) -> bool:
    """Return whether the core has a module of that name."""
    path = CORE.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or path.joinpath("__init__.py").is_file()


def core_names(tree: ast.AST) -> list[tuple[int, str, str]]:
    """Return (line, module, name) of everything that a module takes from the core."""
    modules: list[tuple[int, str, str]] = []
    names: list[tuple[int, str, str]] = []
    attributes: list[tuple[int, str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [(node.lineno, each.name, "") for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [(node.lineno, node.module, each.name) for each in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "missive":
            attributes.append((node.lineno, "missive", node.attr))
    if not any(module.startswith("missive") for _, module, _ in modules):
        attributes = []  # of another object with that name, such as a command
    return [each for each in modules + names + attributes if is_of_core(each[1])]


def is_public(module: str, name: str) -> bool:
    """Return whether a name of the core may be used by other distributions."""
    if module not in PUBLIC:
        return False
    inner = f"{module}.{name}"
    if not name or inner in PUBLIC or name.startswith("__"):
        return True  # a module as such, or what every module has
    return name in importlib.import_module(module).__all__


def test_no_distribution_takes_a_private_name_from_the_core() -> None:
    """What other distributions import from the core is in the ``__all__`` of a public module."""
    private = [
        f"{path.relative_to(ROOT)}:{line} {module} {name}"
        for path in sorted(ROOT.glob("packages/*/src/**/*.py"))
        if CORE not in path.parents
        for line, module, name in core_names(ast.parse(path.read_text(encoding="utf-8")))
        if not is_public(module, name)
    ]
    assert not private


def test_a_private_name_would_be_found() -> None:
    """Imports below ``if TYPE_CHECKING`` and attributes are found too."""
    program = (
        "import missive, missive.run\n"
        "if TYPE_CHECKING:\n"
        "    from missive.headers import HeaderSource\n"
        "missive.Nothing\n"
    )
    found = [(module, name) for _, module, name in core_names(ast.parse(program))]
    assert sorted(found) == [
        ("missive", ""),
        ("missive", "Nothing"),
        ("missive.headers", "HeaderSource"),
        ("missive.run", ""),
    ]
    assert [is_public(*each) for each in sorted(found)] == [True, False, False, False]
