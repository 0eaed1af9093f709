"""What ./dev types checks of the documentation."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from documented_code import BLOCK, PAGES, write_code  # noqa: E402

OPENING = re.compile(r"^(<!-- refused by type checkers -->\n)?`{3,}(\{code-block\} )?python$", re.M)


def test_no_python_block_of_a_page_is_missed() -> None:
    """Each block is found, but for those that a comment says type checkers refuse."""
    for path in (path for pattern in PAGES for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        accepted = [opening for opening in OPENING.finditer(text) if not opening[1]]
        assert len(list(BLOCK.finditer(text))) == len(accepted), path


def test_pages_and_examples_become_programs(tmp_path: Path) -> None:
    """Everything written is Python, under the name that the page gives it."""
    folders = write_code(tmp_path)
    for folder in folders:
        for program in folder.glob("*.py"):
            ast.parse(program.read_text(encoding="utf-8"))
    assert (tmp_path / "docs/howto/sqlalchemy/test_orders.py").is_file()
    assert (tmp_path / "docs/extending/adapter/spool_adapter.py").is_file()
    assert (tmp_path / "examples/folder_dlq/folder_dlq.py").is_file()
