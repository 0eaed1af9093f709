"""Draw the README's picture: a message fails, is looked at, its handler is fixed, it is replayed.

Run ``python docs/pictures/replay_loop.py`` in the development environment, and look at
``docs/_static/replay-loop.svg`` before you commit it. What it shows was really typed and printed.
"""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).resolve().parent.parent / "_static/replay-loop.svg"
COLUMNS = 64

APP = """\
import missive

processor: missive.Processor[missive.JSONMessage] = missive.Processor()


@processor.handle_for(missive.route_on_json("event")("sign-in"))
def greet(message, ctx):
    print("Welcome back, " + message.get_json()["name"])
    ctx.ack()


adapter = missive.StdinAdapter(missive.JSONMessage, processor)
"""
LINES = '{"event": "sign-in", "name": "Ada"}\n{"event": "sign-in", "name": null}\n'

#: rich's own template loads fonts from another host; this uses what the reader has.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {terminal_height}" role="img"
 aria-label="A terminal: a message fails, is shown, its handler is fixed, and it is replayed">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect fill="#0c0c0c" width="{width}" height="{terminal_height}" rx="8"/>
<g transform="translate(10, 6)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(command: str, folder: str) -> str:
    """Return what a command writes to a terminal, colours included."""
    leader, follower = pty.openpty()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "MISSIVE_DLQ": "sqlite:///letters.db",
    }
    process = subprocess.Popen(
        ["bash", "-c", f"{command} 2> errors.txt"],
        cwd=folder,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            read = os.read(leader, 65536)
        except OSError:  # how Linux says that nobody has the other end open
            break
        if not read:
            break
        shown += read
    os.close(leader)
    if process.wait():
        raise SystemExit(f"{command}: {Path(folder, 'errors.txt').read_text(encoding='utf-8')}")
    printed = shown.decode("utf-8").replace("\r\n", "\n")
    said = Path(folder, "errors.txt").read_text(encoding="utf-8").rstrip().split("\n")[-1]
    return printed + (said if "replay" in command else "")


def main() -> None:
    """Type the commands, and write the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)

    def show(comment: str, command: str) -> None:
        console.print(Text(f"# {comment}", style="dim"))
        console.print(Text("$ ", style="bold green") + Text(command, style="bold"))
        if printed := run(command, folder).rstrip():
            console.print(Text.from_ansi(printed))
        console.print()

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(APP, encoding="utf-8")
        Path(folder, "events.jsonl").write_text(LINES, encoding="utf-8")
        show("set up: where messages go that fail", "export MISSIVE_DLQ=sqlite:///letters.db")
        show("fail: the second message has no name", "missive run app:adapter < events.jsonl")
        show("look: one error, in one handler", "missive dlq summary")
        fixed = APP.replace(
            'message.get_json()["name"]', '(message.get_json()["name"] or "stranger")'
        )
        Path(folder, "app.py").write_text(fixed, encoding="utf-8")
        console.print(Text("# fix: app.py now greets a stranger\n", style="dim"))
        show("replay: what is acked leaves the store", "missive dlq replay app:adapter")
    PICTURE.write_text(
        console.export_svg(theme=MONOKAI, code_format=SVG, unique_id="replay"), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
