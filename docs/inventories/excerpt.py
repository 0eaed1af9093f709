"""Make the excerpts: take the names of names.txt out of published inventories."""

from __future__ import annotations

import argparse
from pathlib import Path

import sphobjinv

HERE = Path(__file__).parent


def excerpt(source: str, wanted: set[str]) -> sphobjinv.Inventory:
    """Read an inventory, from an address or a file, and keep only some of its names."""
    whole = sphobjinv.Inventory(**({"url": source} if "://" in source else {"fname_zlib": source}))
    kept = sphobjinv.Inventory()
    kept.project, kept.version = whole.project, whole.version
    kept.objects.extend(item for item in whole.objects if item.name in wanted)
    missing = wanted - {item.name for item in kept.objects}
    if missing:
        raise SystemExit(f"{source} lacks {', '.join(sorted(missing))}")
    return kept


def main() -> None:
    """Make the excerpts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="+", help="NAME=address or path of an objects.inv")
    wanted: dict[str, set[str]] = {}
    for line in HERE.joinpath("names.txt").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("#"):
            project, name = line.split()
            wanted.setdefault(project, set()).add(name)
    for given in parser.parse_args().source:
        project, _, source = given.partition("=")
        text = excerpt(source, wanted[project]).data_file(contract=True)
        sphobjinv.writebytes(HERE / f"{project}.inv", sphobjinv.compress(text))


if __name__ == "__main__":
    main()
