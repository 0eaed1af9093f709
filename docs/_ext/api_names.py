"""Let the reference link names as users write them.

Users import everything from a package (``missive.Processor``) and the reference documents it there;
annotations name the module that defines it (``missive.processor.Processor``). Some annotations use
names that modules import for type checkers alone.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import typing
from pathlib import Path

from docutils import nodes
from public_names import PACKAGES, public_names
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import resolve_reference_any_inventory


def import_for_type_checkers() -> None:
    """Run in each module of Missive the imports that are for type checkers alone."""
    for package in PACKAGES:
        if not public_names(package) and package != "missive":
            continue
        root = importlib.import_module(package)
        modules = [root]
        modules += [
            importlib.import_module(found.name)
            for found in pkgutil.iter_modules(getattr(root, "__path__", ()), f"{package}.")
            if not found.ispkg and not found.name.endswith("__main__")
        ]
        for module in modules:
            if module.__file__ is not None:
                run_guarded_imports(module)


def run_guarded_imports(module: typing.Any) -> None:
    """Run what stands below ``if TYPE_CHECKING:`` at the top of a module."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    # What type checkers alone have stands in the standard library too, from Python 3.11 on.
    tree = ast.parse(source.replace("_typeshed.wsgi", "wsgiref.types"))
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            imports = [s for s in statement.body if isinstance(s, ast.Import | ast.ImportFrom)]
            code = ast.Module(body=list(imports), type_ignores=[])
            exec(compile(code, module.__file__, "exec"), module.__dict__)  # noqa: S102


#: What annotations say, by the public name that a reader is to look up.
PUBLIC_NAMES = {
    "missive.adapter.Runs": "missive.Processor",
    "missive.adapters.kafka.reader.GroupReader": "missive.polling.PollingAdapter",
    "missive.adapters.rabbitmq.options.SharedOptions": "missive.polling.PollingOptions",
    "missive.letters.mapping.LetterMapping": "missive.DeadLetterStore",
    "missive.dlq.postgresql.accounts.PostgreSQLAccounts": "missive.DeadLetterStore",
    "missive.dlq.postgresql.connections.Pool": "missive.dlq.postgresql.Pool",
    "missive.dlq.postgresql.claims.PostgreSQLClaims": "missive.DeadLetterStore",
    "missive.dlq.postgresql.mapping.PostgreSQLMapping": "missive.DeadLetterStore",
    "missive.dlq.sqlite.mapping.SQLiteMapping": "missive.DeadLetterStore",
    "missive.matching.Batch": "missive.Processor.handle_batch_for",
    "missive.waiting.Declared": "missive.Processor",
    "missive.waiting.Settles": "missive.Adapter",
}

#: Names that other projects document under another name.
ELSEWHERE = {
    "asyncio.events.AbstractEventLoop": "asyncio.AbstractEventLoop",
    "datetime": "datetime.datetime",
    "redis.client.Redis": "redis.Redis",
    "typing_extensions.Unpack": "typing.Unpack",
    "Unpack": "typing.Unpack",
}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name that is documented elsewhere than where it is defined."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    target = PUBLIC_NAMES.get(target, target)
    if target in ELSEWHERE:
        moved = node.copy()
        moved["reftarget"], moved["reftype"] = ELSEWHERE[target], "obj"
        return resolve_reference_any_inventory(env, False, moved, content)
    objects = env.domains["py"].objects
    home = target if target in objects else documented_home(objects, target)
    if home is None:
        return None
    node["refspecific"] = False
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", home, node, content
    )


def documented_home(objects: dict[str, ObjectEntry], target: str) -> str | None:
    """Return the one documented name of Missive that ends as the target does.

    A class may be named by its module (``missive.processor.Processor``) or alone (``Processor``), a
    member with its class (``missive.processor.Processor.explain``).
    """
    parts = target.split(".")
    for length in (1, 2):
        ending = "." + ".".join(parts[-length:])
        found = [
            name
            for name, entry in objects.items()
            if name.startswith("missive.") and name.endswith(ending) and not entry.aliased
        ]
        if len(found) == 1:
            return found[0]
    return None


def plain_defaults(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str,
) -> tuple[str, str] | None:
    """Write a default that is no expression (a dataclass's factory) as an ellipsis."""
    if signature and "<factory>" in signature:
        return signature.replace("<factory>", "..."), returns
    return None


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    import_for_type_checkers()
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", plain_defaults)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
