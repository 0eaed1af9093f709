"""Find the code blocks of a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Region
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.myst.lexers import DirectiveLexer
from sybil.typing import Evaluator

#: The READMEs' way to name the file that a block is.
SAVED = re.compile(r"(?:\s*```)?\s+Save (?:it|this) as `([^`]+)`")
COMMENT = re.compile(r"<!-- ([^\n]*?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """One code block.

    :ivar caption: the name of the file it is, or of the terminal it is typed into.
    :ivar hint: what the comment just before it says, which readers do not see.
    :ivar line: where its first line stands in the page, counted from 1.
    """

    language: str
    source: str
    caption: str
    hint: str
    line: int


class BlockParser:
    """Turns every code block of a page into an example of sybil's.

    :param evaluator: is given the example, whose ``parsed`` is a Block.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.lexers = (
            FencedCodeBlockLexer(r"[\w+-]*", mapping={"language": "arguments", "source": "source"}),
            DirectiveLexer("code-block", arguments=r"[\w+-]+"),
            DirectiveLexer("literalinclude", arguments=r"\S+"),
        )

    def __call__(self, document: Document) -> Iterable[Region]:
        """Return a region for each block."""
        for lexer in self.lexers:
            for region in lexer(document):
                language, source = region.lexemes["arguments"], str(region.lexemes["source"])
                if region.lexemes.get("directive") == "literalinclude":
                    included = Path(document.path).parent / language
                    language, source = "", included.read_text(encoding="utf-8")
                options = region.lexemes.get("options") or {}
                comment = COMMENT.search(document.text, 0, region.start)
                saved = SAVED.match(document.text, region.end)
                region.parsed = Block(
                    language=language,
                    source=source.lstrip("\n"),
                    caption=options.get("caption") or (saved.group(1) if saved else ""),
                    hint=comment.group(1) if comment else "",
                    line=first_line(document.text, region.start, source),
                )
                region.evaluator = self.evaluator
                yield region


def first_line(text: str, start: int, source: str) -> int:
    """Return the line of a page on which the code of a block begins that starts somewhere before."""
    code = next((line for line in source.splitlines() if line.strip()), "")
    return text.count("\n", 0, max(start, text.find(code, text.find("\n", start)))) + 1
