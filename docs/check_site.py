"""Check a built site: links, anchors, names, and that it asks nothing of another host.

Sphinx checks the references that it makes itself. This reads the pages as a browser gets them, raw
HTML and the theme's own parts included.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from error_entries import all_errors
from public_names import PACKAGES, public_names
from sphinx.util.inventory import InventoryFile

#: What a browser fetches by itself when it shows a page.
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("link", "href"),
    ("use", "href"),
}
#: Relations of a link element that make a browser fetch something.
FETCHED_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


class Page(HTMLParser):
    """The anchors and links of a page.

    :ivar anchors: the ids in it.
    :ivar links: what it links to.
    :ivar fetched: what is loaded to show it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.doubles: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element has."""
        given = dict(attrs)
        anchor = given.get("id")
        if anchor:
            (self.doubles if anchor in self.anchors else self.anchors).add(anchor)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        for name, value in attrs:
            if (tag, name) not in FETCHED or not value:
                continue
            if tag != "link" or FETCHED_RELATIONS & set((given.get("rel") or "").split()):
                self.fetched.append(value)


def problems(site: Path) -> list[str]:
    """Return all that is wrong with a site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: the anchor {double!r} stands twice" for double in page.doubles]
        for fetched in page.fetched:
            if urlsplit(fetched).netloc:
                found.append(f"{name}: loads {fetched} from another host")
            elif not (path.parent / unquote(urlsplit(fetched).path)).exists():
                found.append(f"{name}: loads {fetched}, which is not there")
        for link in page.links:
            found += [f"{name}: {wrong}" for wrong in broken(path, link, pages)]
    return found + missing_entries(pages[site / "errors.html"]) + undocumented(site)


def broken(path: Path, link: str, pages: dict[Path, Page]) -> list[str]:
    """Say what is wrong with a link of a page, if anything is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return []
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return [f"links to {link}, which is not there"]
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return [f"links to {link}, and there is no such anchor"]
    return []


def missing_entries(page: Page) -> list[str]:
    """Say which errors name an anchor that is not there: their text ends in errors#ClassName."""
    return [
        f"errors.html has no anchor {name}" for name in all_errors() if name not in page.anchors
    ]


def undocumented(site: Path) -> list[str]:
    """Say which public names the reference lacks."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for kind in inventory.data.values() for name in kind}
    by_name = defaultdict(set)
    for name in documented:
        by_name[name.rpartition(".")[2]].add(name)
    found = []
    for package in PACKAGES:
        for name in public_names(package):
            if name.startswith("__") or by_name[name]:
                continue
            found.append(f"the reference lacks {package}.{name}")
    return found


def main() -> int:
    """Check the site that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="the folder of the built site")
    site = parser.parse_args().site.resolve()
    found = problems(site)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"{len(list(site.rglob('*.html')))} pages: links, anchors and names are all there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
