"""Draw the diagrams: the life of a message, deferral, offsets, the inbox, a deployment.

Run ``python docs/pictures/diagrams.py``, build the documentation, and look at each page in light and
dark, at 1440 and 390 px, before you commit. Colours and fonts are the theme's, in ``missive.css``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "_static"
#: As wide as a phone's column, so that the text keeps its size there.
WIDTH = 360


@dataclass
class Diagram:
    """A drawing in units of a pixel on a phone.

    :ivar name: the name of its file.
    :ivar title: what it shows, in a few words.
    :ivar description: what it shows, for those who cannot see it.
    """

    name: str
    title: str
    description: str
    height: int
    lines: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def box(
        self, x: int, y: int, width: int, title: str, *small: str, height: int = 52, kind: str = ""
    ) -> None:
        """Draw a box with a title, and smaller lines below it, in its middle."""
        group = "box bad" if kind == "bad" else "box"
        self.boxes.append(
            f'<g class="{group}"><rect class="{kind}" x="{x}" y="{y}" width="{width}"'
            f' height="{height}" rx="6"/></g>'
        )
        top = y + height // 2 - 9 * len(small) + 5
        self.text(x + width // 2, top, title, "")
        for number, line in enumerate(small, 1):
            self.text(x + width // 2, top + 18 * number, line)

    def arrow(
        self, path: str, label: str = "", x: int = 0, y: int = 0, *, bad: bool = False
    ) -> None:
        """Draw an arrow along a path, with a label whose middle is at a point."""
        end = f"{self.name}-{'bad' if bad else 'plain'}"
        kind = "line bad" if bad else "line"
        self.lines.append(f'<g class="{kind}"><path d="{path}" marker-end="url(#{end})"/></g>')
        if label:
            self.text(x, y, label, "small bad-text halo" if bad else "small halo")

    def text(self, x: int, y: int, text: str, kind: str = "small") -> None:
        """Write a line of text with its middle at a point."""
        self.texts.append(f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>')

    def write(self) -> None:
        """Write the file."""
        markers = "".join(
            f'<marker id="{self.name}-{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            f' markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" class="{fill}"/></marker>\n'
            for kind, fill in (("plain", "fill"), ("bad", "fill-bad"))
        )
        opening = (
            f'<svg class="diagram upright" xmlns="http://www.w3.org/2000/svg"'
            f' viewBox="0 0 {WIDTH} {self.height}" role="img"'
            f' aria-labelledby="{self.name}-title {self.name}-desc">'
        )
        parts = [
            opening,
            f'<title id="{self.name}-title">{escape(self.title)}</title>',
            f'<desc id="{self.name}-desc">{escape(self.description)}</desc>',
            f"<defs>\n{markers}</defs>",
            *self.lines,
            *self.boxes,
            '<g class="text" text-anchor="middle">',
            *self.texts,
            "</g>",
            "</svg>",
        ]
        (FOLDER / f"{self.name}.svg").write_text("\n".join(parts) + "\n", encoding="utf-8")


def life_of_a_message() -> Diagram:
    """Return the way of a message through Missive."""
    drawn = Diagram(
        "settlement",
        "The life of a message",
        "Bytes come from the transport. The message is built and matched to exactly one handler. "
        "Before-hooks, the handler and after-hooks run, and it is settled once: its ack or nack is "
        "sent to the transport. What fails while it is built, matched or handled is written to the "
        "dead letter store first, and then acked.",
        480,
    )
    rows = [
        ("transport", "bytes arrive"),
        ("build", "bytes become a message"),
        ("match", "exactly one handler"),
        ("handle", "hooks, handler, hooks"),
        ("decide", "ack, nack or later"),
    ]
    for number, (title, small) in enumerate(rows):
        drawn.box(28, 4 + 76 * number, 174, title, small)
        drawn.arrow(f"M115 {56 + 76 * number}V{78 + 76 * number}")
    drawn.box(28, 384, 174, "settle", "once", kind="strong")
    drawn.arrow("M28 410H12V30H26")
    drawn.text(115, 460, "ack or nack, sent to the transport")
    drawn.box(
        240,
        80,
        116,
        "dead letter",
        "written,",
        "and durable,",
        "before the ack",
        height=204,
        kind="bad",
    )
    for number in (1, 2, 3):
        drawn.arrow(f"M202 {30 + 76 * number}H238", bad=True)
    drawn.arrow("M298 284V410H204", "then ack", 298, 350, bad=True)
    return drawn


def deferral() -> Diagram:
    """Return how a message waits for its next attempt."""
    drawn = Diagram(
        "deferral",
        "A retry, from failure to success or dead letter",
        "A handler raises an error that its Retry names. The message waits in the transport, if "
        "that delays and counts by itself, or else in the store, where it is written before it is "
        "acked. When it is due, one process claims it and handles it again. It is acked, or waits "
        "again, or becomes a dead letter after the last attempt.",
        440,
    )
    drawn.box(80, 4, 200, "handler raises", "ConnectionError, attempt 1", kind="bad")
    drawn.arrow("M130 56V98", bad=True)
    drawn.arrow("M230 56V98", bad=True)
    drawn.box(24, 100, 148, "transport", "where it can delay", "and count attempts", height=72)
    drawn.box(
        188, 100, 148, "store", "elsewhere: written", "first, then acked", height=72, kind="strong"
    )
    drawn.arrow("M130 172V218")
    drawn.arrow("M230 172V218", "delay, backoff, jitter", 180, 200)
    drawn.box(80, 220, 200, "due", "one process claims it")
    drawn.arrow("M180 272V298")
    drawn.box(80, 300, 200, "handler", "attempt 2, then 3")
    drawn.arrow("M280 326H350V30H282", "again", 316, 318, bad=True)
    drawn.arrow("M130 352V382")
    drawn.arrow("M230 352V382", bad=True)
    drawn.box(24, 384, 148, "acked", "and gone")
    drawn.box(188, 384, 148, "dead letter", "after the last attempt", kind="bad")
    return drawn


def inbox() -> Diagram:
    """Return the way of a webhook through the inbox."""
    drawn = Diagram(
        "inbox",
        "A webhook in the inbox: stored, answered, then handled",
        "The sender posts a message. The web process verifies its signature, and refuses it with "
        "401 where that is wrong. It stores the message under the sender's id, on disk, and answers "
        "202. Afterwards a worker claims the message and calls the handler. Then it is done, and its "
        "id is remembered, or it is a dead letter that can be replayed.",
        472,
    )
    drawn.box(4, 4, 92, "sender", height=206)
    drawn.arrow("M96 30H154", "POST", 124, 24)
    drawn.box(156, 4, 200, "verify", "the sender's signature")
    drawn.arrow("M156 46H98", "401", 126, 64, bad=True)
    drawn.arrow("M256 56V86")
    drawn.box(156, 88, 200, "store", "under the sender's id, on disk", kind="strong")
    drawn.arrow("M256 140V156")
    drawn.box(156, 158, 200, "answer", "before any handler runs")
    drawn.arrow("M156 184H98", "202", 126, 178)
    drawn.arrow("M256 210V262", "the sender has gone", 256, 240)
    drawn.box(156, 264, 200, "claim", "by one worker, renewed")
    drawn.arrow("M256 316V338")
    drawn.box(156, 340, 200, "handle", "retries as everywhere")
    drawn.arrow("M180 392V414")
    drawn.arrow("M306 392V414", bad=True)
    drawn.box(4, 416, 200, "done", "its id is remembered 3 days")
    drawn.box(220, 416, 136, "dead letter", "look, fix, replay", kind="bad")
    return drawn


def deployment() -> Diagram:
    """Return what runs where in production."""
    drawn = Diagram(
        "deployment",
        "A deployment: processes, a store, and those who look",
        "Processes on any number of machines read from one broker, and share its messages. Each "
        "writes what fails to the dead letter store, a PostgreSQL database that they share or a "
        "SQLite file on each machine. You look, fix and replay with the command or the page. "
        "Kubernetes and Prometheus ask each process for its health and metrics.",
        376,
    )
    drawn.box(4, 4, 352, "broker", "a stream, queue or topic shared by all processes")
    for number, name in enumerate(("process 1", "process 2", "process n")):
        x = 4 + 124 * number
        drawn.arrow(f"M{x + 52} 56V98")
        drawn.box(x, 100, 104, name, "missive run", kind="strong")
        drawn.arrow(f"M{x + (52 if number < 2 else 20)} 152V194", bad=True)
    drawn.text(114, 178, "what fails", "small bad-text halo")
    shared = ("PostgreSQL for all of them,", "or SQLite on each machine")
    drawn.box(4, 196, 280, "dead letter store", *shared, height=72, kind="bad")
    drawn.arrow("M60 318V270", "look, fix, replay", 90, 298)
    drawn.box(4, 320, 168, "you", "missive dlq, or the page")
    drawn.box(188, 320, 168, "monitoring", "/healthz /readyz /metrics")
    drawn.arrow("M326 318V154")
    return drawn


def offsets() -> Diagram:
    """Return how the committed offset and the lanes of keys move in a partition of Kafka."""
    drawn = Diagram(
        "offsets",
        "Offsets and lanes of a Kafka partition",
        "Eight messages of one partition, with the keys A, B and C. Offsets 0, 1, 2, 4 and 5 are "
        "settled. 3, of key A, is being handled, and 6, of key A too, waits for it. 7, of key B, is "
        "handled beside 3. The committed offset is 3, the lowest that is not settled; its metadata "
        "says that 4 and 5 are settled. From 3 on five messages were received: the gap is 5.",
        424,
    )
    keys = "ABAABCAB"
    state = {3: "now", 6: "waits", 7: "now"}

    def message(offset: int, y: int, small: str) -> None:
        kind = "strong" if state.get(offset) == "now" else ""
        drawn.box(6 + 44 * offset, y, 40, str(offset), small, height=48, kind=kind)

    drawn.text(180, 18, "one partition: offsets and keys")
    for offset, key in enumerate(keys):
        message(offset, 28, key)
    drawn.arrow("M136 118V80", "committed: 3", 136, 134)
    drawn.arrow("M142 96H354", "gap: 5 received since", 254, 112)
    lanes = {
        "A": "lane A: 6 waits until 3 is settled",
        "B": "lane B: 7 is handled beside 3",
        "C": "lane C: free",
    }
    for number, (key, label) in enumerate(lanes.items()):
        y = 154 + 82 * number
        drawn.text(180, y + 12, label)
        for offset in range(8):
            if keys[offset] == key:
                message(offset, y + 20, state.get(offset, "done"))
    drawn.text(180, 414, "4 and 5, done before 3: noted beside the offset")
    return drawn


def main() -> None:
    """Write all of them."""
    for drawn in (life_of_a_message(), deferral(), offsets(), inbox(), deployment()):
        drawn.write()


if __name__ == "__main__":
    main()
