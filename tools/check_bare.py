"""Import every module of the core where nothing but the core is installed."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata


def main() -> None:
    """Import the modules that the wheel brought, and look for anything foreign."""
    # What is imported at start-up is not the core's doing: Debian's Python has a sitecustomize.
    before = set(sys.modules)
    installed = sorted(distribution.name for distribution in metadata.distributions())
    if installed != ["missive-core"]:
        sys.exit(f"expected missive-core alone in this environment, found {', '.join(installed)}")
    if required := metadata.requires("missive-core"):
        sys.exit(f"missive-core says that it depends on {', '.join(required)}")
    files = metadata.files("missive-core") or []
    modules = [
        ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if file.suffix == ".py"
    ]
    for module in modules:
        importlib.import_module(module)
    imported = {name.partition(".")[0] for name in set(sys.modules) - before}
    if foreign := imported - sys.stdlib_module_names - {"missive"}:
        sys.exit(f"importing the core imported {', '.join(sorted(foreign))}")
    print(f"{len(modules)} modules of missive-core import where nothing else is installed")


if __name__ == "__main__":
    main()
