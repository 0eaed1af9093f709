"""Check the words: phrases that read as translated, with what to write instead.

Run by ``./dev lint``; it looks at all text that git knows of. CONTRIBUTING.md, "Plain English".
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDINGS = (".py", ".md", ".toml", ".yml", ".yaml", ".html")
#: The original's greeting, which its documentation prints.
ALLOWED = re.compile(r"Hello whoever you are")

#: What not to write, and what people say.
PHRASES = {
    r'"""Give (the|a|an|what|those|all|how|each|its)\b(?! .*\b(back|to)\b)': 'begin with "Return …"',
    r"\bTell (whether|what)\b": "Return whether …, Send …",
    r"\b(is|was|were|are|had|has) in hand\b|\bin hand when\b": "in flight",
    r"\bcomes? again\b": "is redelivered",
    r"\b(is|are) through\b(?! )": "has finished",
    r"\b(?i:whoever)\b": "name the person, process or caller",
    r"\bgoes on up\b": "propagates",
    r"\blooked whether\b": "checked whether",
    r"\b(is|are) to be (nacked|acked|told|sent|handled|raised)\b": "say who does it: nack, ack, send …",
    r"\bwho is not there\b": "name what is missing",
    r"\bas many as by itself\b": "its default",
    r"\bgood-bye\b": "name the message that is sent",
    r"\busher\b": "name the task",
    r"(?<![Tt]here )\bis no (letter|path|sender|factory|media type|message id)\b": "is not a …",
    r"(?<![Tt]here )\bis no (length of time|name of|plain|regular)\b": "is not a …",
    r"\bcannot be (listened on|asked:)": "cannot be opened, did not answer",
    r"\b(took|taken?|takes) (it|them|this process) for dead\b": "counts as dead",
    r"\bwhat is in flight is finished\b": "the run finishes what is in flight",
    r"\btake leave of\b": "leave",
}

#: What not to write in pages, besides.
PAGE_PHRASES = {
    r"\b(?i:mend(s|ed|ing)?)\b": "fix, repair, help",
    r"\bfailure more\b": "the new failure is added",
    r"\bdead-lettered unhandled\b": "becomes a dead letter without being handled",
    r"\b(delivered|received|begun) so often\b": "this often, this many times",
    r"\bsa(ys|id) (so )?once\b": "logs that once",
    r"\bit is no (?!longer|such|more)": "it is not a …",
    r"\bis there again\b": "is back, exists again",
    r"\bfailed alike\b": "failed with the same error",
    r"\b(do|does) not touch it\b|\btouches nothing\b": "does not change it",
}


def faults(text: str, phrases: dict[str, str] = PHRASES) -> list[tuple[int, str, str]]:
    """Return the phrases in a text to write otherwise: line, phrase, advice."""
    found: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        kept = ALLOWED.sub("", line)
        for pattern, advice in phrases.items():
            match = re.search(pattern, kept)
            if match is not None:
                found.append((number, match[0], advice))
    return found


def main() -> int:
    """Print each phrase to write otherwise; return 1 where there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    count = 0
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not name.endswith(ENDINGS) or path == Path(__file__) or not path.is_file():
            continue
        phrases = {**PHRASES, **PAGE_PHRASES} if name.endswith(".md") else PHRASES
        for line, phrase, advice in faults(path.read_text(encoding="utf-8"), phrases):
            print(f"{name}:{line}: {phrase!r}: {advice}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
