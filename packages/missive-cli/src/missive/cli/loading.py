"""Loading: the import of what ``MODULE:NAME`` on the command line names."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from missive import Adapter, MissiveError, Processor

from .options import Settings


def load_object(spec: str) -> Any:
    """Import ``MODULE:NAME``, with the program's folder first on the path.

    :raises click.UsageError: the module or the name is not there, or importing it failed.
    """
    module_name, path = split(spec)
    folders = _folders()
    module = _import(module_name, folders)
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise click.UsageError(
                f"{module_name} has no {path}{_hidden(module_name, folders) or candidates(module)}"
            ) from error
    return found


def split(spec: str) -> tuple[str, str]:
    """Return the module and the name of ``MODULE:NAME``.

    :raises click.UsageError: it is not written so.
    """
    module_name, colon, path = spec.partition(":")
    if not colon or not module_name or not path:
        raise click.UsageError(
            f"{spec!r} names nothing to load; give MODULE:NAME, as in app:adapter"
        )
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise click.UsageError(f"{spec} names a file; give its module: {dotted}:{path}")
    if module_name.startswith("."):
        raise click.UsageError(
            f"{spec} is relative, but not within a package; give the"
            f" module's whole name, as in {module_name.lstrip('.') or 'app'}:{path}"
        )
    if not all(module_name.split(".")):
        raise click.UsageError(
            f"{module_name!r} is not the name of a module; give one like shop.app"
        )
    return module_name, path


def call_factory(spec: str, factory: Any) -> Any:
    """Return what a factory makes.

    :param factory: called without arguments.
    :raises click.UsageError: it raised something, or is a coroutine function.
    :raises MissiveError: it raised that, which says itself what is wrong.
    """
    try:
        made = factory()
    except MissiveError:
        raise
    except SystemExit as error:
        raise click.UsageError(
            f"the factory {spec} ended the program (SystemExit {error.code})"
        ) from error
    except Exception as error:
        raise click.UsageError(f"the factory {spec} failed: {error_and_place(error)}") from error
    if hasattr(made, "__await__"):
        if hasattr(made, "close"):
            made.close()  # else Python warns that it was never awaited
        raise click.UsageError(
            f"the factory {spec} is a coroutine function; there is no event loop yet, so make it a"
            " plain function"
        )
    return made


def candidates(module: ModuleType) -> str:
    """Name what a module has that a command could take."""
    things: dict[str, object] = vars(module)
    names = [name for name, thing in things.items() if isinstance(thing, (Adapter, Processor))]
    return f"; it has {', '.join(names)}" if names else "; it has no adapter and no processor"


def program_folder() -> Path:
    """Return the folder of the program's modules: that of ``--app-dir``, or the working directory.

    :raises click.UsageError: there is no working directory any more.
    """
    ctx = click.get_current_context(silent=True)
    folder = ctx.ensure_object(Settings).app_dir if ctx is not None else None
    if folder is not None:
        return folder
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise click.UsageError(
            "the working directory was deleted; change to one that exists, or give --app-dir"
        ) from error


def _folders() -> list[Path]:
    """Put the program's folder first on the path, and return where its modules may lie.

    :raises click.UsageError: there is no working directory any more.
    """
    folder = program_folder()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return [folder, folder / "src"]


def _import(name: str, folders: list[Path]) -> ModuleType:
    src = folders[1]
    top = name.partition(".")[0]
    if str(src) not in sys.path and _is_only_in(top, src):
        sys.path.insert(1, str(src))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            looked = ", ".join(map(str, filter(Path.is_dir, folders)))
            raise click.UsageError(
                f"there is no module {missing}{_hidden(name, folders)}; looked in {looked} and"
                " where Python's packages are; --app-dir names another folder"
            ) from error
        raise click.UsageError(
            f"{name} imports {missing}, which is not installed (at {_place(error)})"
        ) from error
    except SystemExit as error:
        raise click.UsageError(
            f"{name} ends the program when it is imported (at {_place(error)});"
            ' put that under if __name__ == "__main__":'
        ) from error
    except Exception as error:
        raise click.UsageError(f"{name} cannot be imported: {error_and_place(error)}") from error


def _is_only_in(top: str, src: Path) -> bool:
    """Return whether a module is in the ``src`` folder and nowhere else."""
    if top in sys.modules or find_spec(top) is not None:
        return False
    return PathFinder.find_spec(top, [str(src)]) is not None


def _hidden(name: str, folders: Iterable[Path]) -> str:
    """Name the user's file that a module of the same name keeps from being imported."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if module is None:
        return ""
    where = getattr(module, "__file__", None)
    for folder in folders:
        spec = PathFinder.find_spec(top, [str(folder)])
        if spec is None or spec.origin is None:
            continue
        if where is None or not Path(where).samefile(spec.origin):
            return (
                f"; {top} is {where or 'built into Python'}, which hides {spec.origin}:"
                " rename the latter"
            )
    return ""


def error_and_place(error: BaseException) -> str:
    """Name an error of code that is imported, with its text and the line that raised it."""
    return f"{type(error).__name__}: {error} (at {_place(error)})"


def _place(error: BaseException) -> str:
    """Name the line of code that raised; of a syntax error, the line that is wrong."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"
