"""Write the Python code of the documentation and the examples to files, to be type-checked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "packages/*/README.md", "docs/**/*.md")

#: A block of code: its fence, language, options and lines.
BLOCK = re.compile(
    r"(?<!<!-- refused by type checkers -->\n)"
    r"^(?P<fence>```+)(?:\{code-block\} *)?python\n(?P<options>(?::\w+:[^\n]*\n)*)"
    r"(?P<code>.*?)^(?P=fence)$"
    r"(?:\s+Save (?:it|this) as `(?P<name>[^`]+)`)?",
    re.MULTILINE | re.DOTALL,
)
#: What a program begins with; a block without it goes on with the one before.
IMPORT = re.compile(r"^import missive$", re.MULTILINE)
CAPTION = re.compile(r"^:caption: (\S+\.py)$", re.MULTILINE)
INCLUDED = re.compile(r"^```+\{literalinclude\} (\S+\.py)\n", re.MULTILINE)


def write_code(folder: Path) -> list[Path]:
    """Write the code of each page, and each example, to a folder of its own.

    A block with a file name becomes that file. Others are one program from a block that imports
    Missive to the next.

    :param folder: where the folders go.
    :returns: the folders that have code.
    """
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    written = [_write_page(path, folder) for path in pages if "_build" not in path.parts]
    folders = [each for each in written if each is not None]
    for example in sorted(ROOT.glob("examples/**/*.py")):
        own = folder / "examples" / example.parent.name
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(example, own)
        folders.append(own)
    return list(dict.fromkeys(folders))


def _write_page(path: Path, folder: Path) -> Path | None:
    text = path.read_text(encoding="utf-8")
    programs: list[str] = []
    files: dict[str, str] = {}
    for block in BLOCK.finditer(text):
        caption = CAPTION.search(block["options"])
        name = caption[1] if caption else block["name"]
        if name:
            files[name] = block["code"]
        elif programs and not IMPORT.search(block["code"]):
            programs[-1] += "\n" + block["code"]
        else:
            programs.append(block["code"])
    files.update({f"page_{number}.py": code for number, code in enumerate(programs, 1)})
    if not files:
        return None
    for included in INCLUDED.findall(text):
        source = path.parent / included
        files[source.name] = source.read_text(encoding="utf-8")
    own = folder / path.relative_to(ROOT).with_suffix("")
    own.mkdir(parents=True)
    for name, code in files.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(code, encoding="utf-8")
    return own
