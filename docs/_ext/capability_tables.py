"""Directives that say what each transport guarantees, read from its adapter's capabilities."""

from __future__ import annotations

from importlib.metadata import entry_points

from docutils import nodes
from missive import Capabilities
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DELIVERY = {
    "at-most-once": "at most once",
    "at-least-once": "at least once",
    "request-reply": "the sender waits for the outcome and decides",
}
NACK = {
    "redeliver": "redelivered",
    "drop-refused": "refused: a dead letter, or `NackUnsupported` without a DLQ",
    "error-response": "answered with an error; the sender may send again",
}
#: The units of the limits.
UNITS = {"max_delay": "s", "max_bytes": "bytes", "max_in_flight": ""}
ORDERING = {"none": "none", "source": "within a source", "total": "total"}

#: The rows of the matrix: what each is called, and the words for its values.
ROWS = (
    ("delivery", "Delivery", DELIVERY.get),
    ("nack", "A nacked message is", NACK.get),
    ("delayed_nack", "The transport itself delays a nacked message", None),
    ("max_delay", "Longest delay", None),
    ("crash_redelivery", "A crashed process's messages are redelivered", None),
    ("persistent", "Survives a restart of the server", None),
    ("reconnects", "A lost connection is opened again", None),
    ("settles_across_connections", "A message can be settled after a reconnection", None),
    ("ordering", "Order", ORDERING.get),
    ("ordered_acks", "Acks have to be in the order of delivery", None),
    ("competing_consumers", "Several processes share the messages", None),
    ("stable_id", "Same id on redelivery", None),
    ("delivery_count", "Deliveries counted", None),
    ("headers", "Headers", None),
    ("binary_safe", "Any bytes", None),
    ("empty_body", "Empty bodies", None),
    ("max_bytes", "Longest body", None),
    ("max_in_flight", "Most messages in flight", None),
)


def adapters() -> dict[str, type]:
    """Return the adapters that installed distributions register, by the name of their class."""
    found = {}
    for entry_point in entry_points(group="missive.adapters"):
        cls = entry_point.load()
        if hasattr(cls, "capabilities"):  # else it builds others from a URL
            found[cls.__name__] = cls
    return dict(sorted(found.items()))


def say(name: str, caps: Capabilities, words: object) -> str:
    """Put the value of a capability into words."""
    value = getattr(caps, name)
    if callable(words):
        return str(words(value))
    if name == "max_delay" and not caps.delayed_nack:
        return "does not apply"
    if name in UNITS:
        return "no limit" if value is None else f"{value:,g} {UNITS[name]}".strip()
    return "yes" if value else "no"


def what_can_be_lost(caps: Capabilities) -> str:
    """Say in a sentence or two what can be lost, and when."""
    if caps.delivery == "at-most-once":
        lost = "When a process dies, the messages it was handling and those it had read ahead."
        if caps.reconnects:
            lost += " What is sent while the connection is down."
    elif caps.delivery == "request-reply":
        lost = (
            "Nothing that was answered with a success: that answer is sent once the message is acked"
            " or kept as a dead letter. Anything else is the sender's to send again."
        )
    else:
        lost = "Nothing that the transport still has: what is not settled is redelivered."
        if not caps.persistent:
            lost += " A restart of the server loses what it holds."
    twice = {
        "at-most-once": "No message is handled twice.",
        "request-reply": "A sender that missed the answer sends again: make handlers idempotent.",
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
        self.env.note_reread()  # what it is made from is code
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
            values = [say(name, cls.capabilities, words) for cls in classes]
            lines.append(f"| {label} | " + " | ".join(values) + " |")
        return list(self.parse_text_to_nodes("\n".join(lines)))


class Losses(SphinxDirective):
    """What can be lost with each adapter, or with those named, as definitions."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        self.env.note_reread()  # what it is made from is code
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
