"""How core is built: seven layers on six floors, imports one way, nothing but the standard library."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import missive
import missive.errors

SOURCE = Path(missive.__file__).parent

#: A module imports those of its own layer, or of a floor below; never in a circle.
LAYERS = {
    "nouns": (
        "__about__ error_base transport_errors errors ids headers state capabilities delivery"
        " message messages steps callables error_notes shutdown_handler"
    ),
    "letters": (
        "letters letters.letter letters.store letters.filters letters.memory letters.tracebacks"
        " letters.claim letters.choice letters.summary letters.mapping"
        " letters.due letters.shelf letters.leases letters.inbox letters.received"
        " letters.prefixes letters.groups"
        " letters.accounts letters.actions letters.division letters.records letters.pytest_file"
        " letters.columns letters.placing"
    ),
    "declared": "keys matching hooks retry breaker",
    "life": (
        "handling building batch around waiting settlement lifecycle original run"
        " loop_tasks loop_thread callers_loop adapter letters.deferred"
    ),
    "transport": (
        "testing testing.client processor polling polling.acks polling.adapter polling.batches"
        " polling.connection polling.event_loop polling.executor polling.held"
        " polling.inline polling.intake polling.lanes polling.loop polling.placing polling.refused"
        " polling.pump polling.turn polling.transport polling.options polling.port polling.push"
        " polling.settling polling.status polling.threads polling.wakeup"
        " polling.watch urls"
    ),
    "adapters": (
        "adapters.stdin adapters.reading adapters.deferred missive letters.replayed"
        " letters.selection letters.replay adapters.replay"
    ),
    "webhooks": (
        "webhooks webhooks.adapter webhooks.answers webhooks.challenges webhooks.codings"
        " webhooks.delivery webhooks.forms webhooks.framing webhooks.inbox"
        " webhooks.inbox_writer webhooks.intake webhooks.options webhooks.reception webhooks.request"
        " webhooks.senders webhooks.serving webhooks.signatures webhooks.twilio webhooks.verifying"
    ),
}
LAYER_OF = {module: layer for layer, modules in LAYERS.items() for module in modules.split()}
#: Letters and declarations know nothing of each other.
FLOORS = (
    ("nouns",),
    ("letters", "declared"),
    ("life",),
    ("transport",),
    ("adapters",),
    ("webhooks",),
)
FLOOR_OF = {layer: number for number, layers in enumerate(FLOORS) for layer in layers}


def core_modules() -> dict[str, Path]:
    """Return the modules of core alone; other distributions may be installed beside it."""
    found: dict[str, Path] = {}
    for path in [
        *SOURCE.glob("*.py"),
        *(
            path
            for name in ("letters", "polling", "testing", "webhooks")
            for path in SOURCE.glob(f"{name}/*.py")
        ),
        *(
            SOURCE / "adapters" / f"{name}.py"
            for name in ("stdin", "reading", "replay", "deferred")
        ),
    ]:
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def imports_of(path: Path) -> list[tuple[int, str, list[str]]]:
    """Return (level, module, names) of every import there is, those for type checkers included."""
    found: list[tuple[int, str, list[str]]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend((0, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [alias.name for alias in node.names]))
    return found


def inner_imports(name: str, path: Path) -> set[str]:
    """Return the modules of core that a module imports."""
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    modules = core_modules()
    targets: set[str] = set()
    for level, module, names in imports_of(path):
        if not level:
            continue
        base = package[: len(package) - level + 1]
        target = ".".join([*base, *(module.split(".") if module else [])])
        children = {f"{target}.{each}".lstrip(".") for each in names} & modules.keys()
        targets |= children
        if target in modules and len(children) < len(names):
            targets.add(target)
    return targets


def test_every_module_is_in_a_layer() -> None:
    """The layers name the modules that there are, and no other."""
    assert sorted(LAYER_OF) == sorted(core_modules())


def test_imports_run_from_a_floor_to_those_below() -> None:
    """No import runs upwards, or beside to another layer; for type checkers neither."""
    for name, path in core_modules().items():
        mine = LAYER_OF[name]
        for target in inner_imports(name, path):
            theirs = LAYER_OF[target]
            assert mine == theirs or FLOOR_OF[theirs] < FLOOR_OF[mine], f"{name} -> {target}"


def test_no_imports_run_in_a_circle() -> None:
    """A stranger can read the modules in one order."""
    graph = {name: inner_imports(name, path) for name, path in core_modules().items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them
    assert len(order) == len(graph)


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    """One noun a file."""
    for name, path in core_modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 300, f"{name} has {lines} lines"


def test_no_function_is_longer_than_a_screen() -> None:
    """Fifty lines, docstring and blank lines not counted."""
    for name, path in core_modules().items():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node
                length = (node.end_lineno or 0) - first.lineno + 1
                assert length <= 50, f"{name}.{node.name} has {length} lines"


def test_core_imports_the_standard_library_only() -> None:
    """Core depends on nothing."""
    for name, path in core_modules().items():
        for level, module, _ in imports_of(path):
            if not level and module != "typing_extensions":
                assert module.partition(".")[0] in sys.stdlib_module_names, f"{name}: {module}"


def test_a_plain_run_imports_no_asyncio() -> None:
    """Only where a handler or hook is async is an event loop needed."""
    import subprocess

    program = (
        "import missive, sys\n"
        "p = missive.Processor()\n"
        "p.handle_for(missive.otherwise)(lambda m, ctx: ctx.ack())\n"
        "missive.StdinAdapter(missive.RawMessage, p).run()\n"
        "sys.exit('asyncio' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], input=b"a line\n", check=False)
    assert run.returncode == 0


def test_every_listed_name_is_there() -> None:
    """__all__ is the table of contents."""
    for name in missive.__all__:
        assert hasattr(missive, name)
