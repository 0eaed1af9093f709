"""``missive explain``: which handler messages would go to, calling none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any, BinaryIO

import click
from missive import Delivery, Explanation, ProcessingContext, TestAdapter
from missive.letters import LetterState

from .describe import describe_policy, looked_up, place
from .exits import ExitCode, Failed
from .options import debug_option, json_option, message_option, target_options
from .schemes import open_store
from .targets import Target, load_target
from .terminal import escaped, note, plural, table, write, write_json

HELP = """\
Show for each message which matchers match and which raise. No handler is called.

\b
  missive explain app:processor messages.jsonl --message json
  tail -n 100 messages.jsonl | missive explain app:adapter
  missive explain app:adapter --dlq sqlite:///dead-letters.db
  missive explain app:adapter body.bin --whole

FILE has one message on each line, as the stdin adapter reads them. Without FILE, or with -, it is
standard input. The exit code is 1 if any message has no handler or several, or cannot be matched.
"""


@click.command(help=HELP, short_help="Show which handler messages would go to.")
@click.argument("target")
@click.argument("file", type=click.File("rb"), default="-")
@target_options
@message_option
@click.option(
    "--dlq", "dlq_url", metavar="URL", help="Explain the letters of a store instead of FILE."
)
@click.option(
    "--state",
    type=click.Choice(["dead", "deferred", "all"]),
    help="With --dlq: dead letters (the default), or messages that wait for another attempt.",
)
@click.option("--whole", is_flag=True, help="Treat the whole FILE as one message.")
@json_option("Write JSON: one object for each message, and one with the totals at the end.")
@debug_option
@click.pass_context
def explain(
    ctx: click.Context,
    target: str,
    file: BinaryIO,
    message: str | None,
    dlq_url: str | None,
    state: str | None,
    whole: bool,
    as_json: bool,
) -> int:
    """Explain messages."""
    if dlq_url is not None and (
        whole or ctx.get_parameter_source("file") is not click.core.ParameterSource.DEFAULT
    ):
        raise click.UsageError("give FILE or --dlq, not both")
    if state is not None and dlq_url is None:
        raise click.UsageError("--state needs a store; give --dlq too")
    loaded = load_target(target, message)
    deliveries = _letters(dlq_url, state or "dead") if dlq_url is not None else _read(file, whole)
    tally = Tally(loaded)
    for name, delivery in deliveries:
        found = tally.explain(name, delivery)
        if as_json:
            write_json(found)
        else:
            write(_line(found))
    if as_json:
        write_json(tally.totals())
    else:
        tally.show()
    return ExitCode.FAILED if tally.problems else ExitCode.OK


def _read(file: BinaryIO, whole: bool) -> Iterator[tuple[str, Delivery]]:
    """Return the messages of a file by name: a line each, or all of it as one."""
    source = getattr(file, "name", None)
    source = "stdin" if source in (0, "<stdin>") else str(source)
    if whole:
        yield source, Delivery(file.read(), source=source)
        return
    for number, line in enumerate(file, 1):
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        if body:
            yield f"line {number}", Delivery(body, source=source)


def _letters(url: str, state: str) -> Iterator[tuple[str, Delivery]]:
    from missive import format_id

    store = open_store(url, existing=True)
    try:
        chosen: LetterState | None = None
        if state != "all":
            chosen = "deferred" if state == "deferred" else "dead"
        for letter in store.letters(state=chosen):
            yield format_id(letter.id), letter.delivery()
    finally:
        store.close()


class Tally:
    """Explains messages one by one, and keeps count.

    :ivar problems: how many messages had no handler, or several, or could not be matched.
    """

    def __init__(self, target: Target) -> None:
        self._processor = target.processor
        self._ctx: ProcessingContext[Any] = ProcessingContext(
            target.message_cls, TestAdapter(target.processor), target.processor, holds=True
        )
        self._messages = 0
        self._matched: Counter[str] = Counter()
        self._overlaps: Counter[tuple[str, str]] = Counter()
        self.problems = 0

    def explain(self, name: str, delivery: Delivery) -> dict[str, Any]:
        """Explain one message.

        :param name: what the message is called in the output.
        :raises Failed: a matcher or the message class ended the program.
        """
        self._messages += 1
        try:
            context = self._ctx.begin(delivery.raw_data, delivery)
            if context.error is not None:
                raise context.error
            explanation = self._processor.explain(context.message)
        except SystemExit as error:
            raise Failed(
                f"{name}: a matcher or the message class ended the program"
                f" (SystemExit {error.code})"
            ) from error
        except Exception as error:  # the message class is the user's: anything may come
            self.problems += 1
            return {"message": name, "result": "undecodable", "error": type(error).__name__}
        hits = [handler.name for handler in explanation.hits]
        self._matched.update(hits)
        self._overlaps.update(combinations(sorted(hits), 2))
        result = _result(explanation)
        self.problems += result != "one"
        return {
            "message": name,
            "result": result,
            "keys": looked_up(
                explanation.hits if result == "one" else self._processor.handlers, context.message
            ),
            "hits": hits,
            "raised": [
                {"handler": handler.name, "error": type(error).__name__, "place": place(handler)}
                for handler, error in explanation.raised
            ],
        }

    def totals(self) -> dict[str, Any]:
        """Return the totals."""
        names = [handler.name for handler in self._processor.handlers]
        return {
            "messages": self._messages,
            "problems": self.problems,
            "matched": {name: self._matched[name] for name in names},
            "policies": {
                handler.name: describe_policy(handler, self._processor.retry)
                for handler in self._processor.handlers
            },
            "never_matched": [name for name in names if not self._matched[name]],
            "overlaps": [
                {"handlers": list(pair), "messages": count}
                for pair, count in self._overlaps.most_common()
            ],
        }

    def show(self) -> None:
        """Write the totals for reading."""
        totals = self.totals()
        write("")
        policies = totals["policies"]
        rows = [(name, count, policies[name]) for name, count in totals["matched"].items()]
        if any(policies.values()):
            table(("handler", "messages", "policy"), rows)
        else:
            table(("handler", "messages"), [row[:2] for row in rows])
        for overlap in totals["overlaps"]:
            both = " and ".join(overlap["handlers"])
            write(f"overlap: {both} both match {plural(overlap['messages'], 'message')}")
        for name in totals["never_matched"]:
            write(f"never matched: {name}")
        note(f"{plural(self._messages, 'message')}, {self.problems} without exactly one handler")


def _result(explanation: Explanation[Any]) -> str:
    if explanation.raised:
        return "raised"
    return {0: "none", 1: "one"}.get(len(explanation.hits), "several")


def _line(found: dict[str, Any]) -> str:
    if found["result"] == "undecodable":
        what = f"cannot be built: {found['error']}"
    else:
        what = ", ".join(found["hits"]) or "no handler"
        if len(found["hits"]) > 1:
            what = f"{len(found['hits'])} handlers: {what}"
        for raised in found["raised"]:
            what += f"; {raised['handler']} raised {raised['error']}"
    keys = ", ".join(f"{name} = {value}" for name, value in found.get("keys", {}).items())
    return f"{escaped(found['message'])}: {escaped(what)}{f' ({escaped(keys)})' if keys else ''}"
