"""Directives that say what each transport guarantees, read from its adapter's capabilities."""

from __future__ import annotations

from importlib.metadata import entry_points

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DELIVERY = {
    "at-most-once": "at most once",
    "at-least-once": "at least once",
    "request-reply": "the sender waits for the outcome and decides",
}
NACK = {
    "redeliver": "delivered again",
    "drop-refused": "refused: a dead letter, or `NackUnsupported` without a DLQ",
    "error-response": "the sender gets an error, and may send again",
}
ORDERING = {"none": "none", "source": "within a source", "total": "total"}

#: The rows of the matrix: what it is called, and how a value is said.
ROWS = (
    ("delivery", "Delivery", DELIVERY.get),
    ("nack", "A nacked message is", NACK.get),
    ("crash_redelivery", "In hand when the process dies: comes again", None),
    ("persistent", "Survives a restart of the server", None),
    ("reconnects", "A lost connection is taken up again", None),
    ("ordering", "Order", ORDERING.get),
    ("competing_consumers", "Several processes share the messages", None),
    ("stable_id", "Same id when it comes again", None),
    ("delivery_count", "Deliveries counted", None),
    ("headers", "Headers", None),
    ("ordered_acks", "Acks in the order of delivery", None),
    ("binary_safe", "Any bytes", None),
    ("empty_body", "Empty bodies", None),
    ("max_bytes", "Longest body", None),
)


def adapters() -> dict[str, type]:
    """Give the adapters that installed distributions register, by the name of their class."""
    found = {}
    for entry_point in entry_points(group="missive.adapters"):
        cls = entry_point.load()
        found[cls.__name__] = cls
    return dict(sorted(found.items()))


def say(name: str, value: object, words: object) -> str:
    """Put the value of a capability into words."""
    if callable(words):
        return str(words(value))
    if name == "max_bytes":
        return "no limit" if value is None else f"{value:,} bytes"
    return "yes" if value else "no"


def what_can_be_lost(caps: object) -> str:
    """Say in a sentence or two what can be lost, and when."""
    if caps.delivery == "at-most-once":
        lost = "What a process has in hand when it dies is gone, and so is what it had read ahead."
        if caps.reconnects:
            lost += " So is what is sent while the connection is down."
    elif caps.delivery == "request-reply":
        lost = (
            "Nothing that was answered with a success: that is said once the message is acked or"
            " kept as a dead letter. What was not answered so is the sender's to send again."
        )
    else:
        lost = "Nothing that the transport still has: what is not settled is delivered again."
        if not caps.persistent:
            lost += " A restart of the server loses what it holds."
    twice = {
        "at-most-once": "No message is handled twice.",
        "request-reply": "A sender that missed the answer sends again: handle by id.",
        "at-least-once": (
            "A message may be handled twice, when a process dies between the handler's work and"
            " the ack: make handlers idempotent."
        ),
    }[caps.delivery]
    return f"{lost} {twice}"


class Matrix(SphinxDirective):
    """The capabilities of all adapters, or of those named, as a table."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        chosen = (self.arguments or [""])[0].split()
        known = adapters()
        missing = [name for name in chosen if name not in known]
        if missing:
            raise self.error(f"no installed distribution registers {', '.join(missing)}")
        classes = [known[name] for name in chosen] or list(known.values())
        lines = [
            "| | " + " | ".join(f"`{cls.__name__}`" for cls in classes) + " |",
            "| --- |" + " --- |" * len(classes),
        ]
        for name, label, words in ROWS:
            values = [say(name, getattr(cls.capabilities, name), words) for cls in classes]
            lines.append(f"| {label} | " + " | ".join(values) + " |")
        return list(self.parse_text_to_nodes("\n".join(lines)))


class Losses(SphinxDirective):
    """What can be lost with each adapter, or with those named, as definitions."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        chosen = (self.arguments or [""])[0].split()
        known = adapters()
        text = ""
        for name in chosen or known:
            if name not in known:
                raise self.error(f"no installed distribution registers {name}")
            said = what_can_be_lost(known[name].capabilities)
            text += said if len(chosen) == 1 else f"`{name}`\n: {said}\n\n"
        return list(self.parse_text_to_nodes(text))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("capabilities", Matrix)
    app.add_directive("losses", Losses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
