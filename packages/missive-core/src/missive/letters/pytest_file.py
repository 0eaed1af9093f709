"""Pytest files: a dead letter as a test."""

from __future__ import annotations

import pprint
import re
from collections.abc import Iterable
from keyword import iskeyword
from textwrap import dedent

from ..ids import format_id
from .letter import DeadLetter

_TEMPLATE = dedent(
    '''\
    """A message that became a dead letter, sent to its processor again.

    Run it with ``python -m pytest`` in the folder that the program is run in.
    """

    {imports}

    # {origin}
    BODY = {body}


    def test_letter_{name}_is_acked(monkeypatch):
        """The message is handled and acked."""
        processor = {processor}
        # Without a DLQ an error is raised here, and nothing is written.
        monkeypatch.setattr(processor, "dlq", None)
        with missive.TestAdapter(processor, {message_cls}) as client:
            outcome = client.send(
                BODY,
                message_id={message_id},
                headers={headers},
                source={source},
            )
        assert outcome is missive.Outcome.ACKED
    '''
)


def write_test(
    letter: DeadLetter, *, processor: str, message_cls: str, modules: Iterable[str]
) -> str:
    """Write a test for pytest that sends the message of a letter to a processor.

    :param processor: the processor, as an expression.
    :param message_cls: the class of its messages, likewise.
    :param modules: what these expressions need to be imported, beside ``missive``.
    :returns: the test as Python source, in ASCII.
    """
    return _TEMPLATE.format(
        imports="\n".join(f"import {name}" for name in sorted({"missive", *modules})),
        origin=_origin(letter),
        body=_literal(letter.raw_data),
        name=re.sub(r"\W+", "_", format_id(letter.id), flags=re.ASCII).strip("_") or "empty",
        processor=processor,
        message_cls=message_cls,
        message_id=repr(letter.message_id or letter.id),
        headers=ascii(dict(letter.headers)),
        source=ascii(letter.source),
    )


def named(module: str, path: str) -> tuple[str, str]:
    """Return the module to import, and the expression for a name in it.

    :param module: the module's name; what no import statement can name is imported by its text.
    :param path: the name, dotted.
    """
    if all(name.isidentifier() and not iskeyword(name) for name in module.split(".")):
        return module, f"{module}.{path}"
    return "importlib", f"importlib.import_module({module!a}).{path}"


def _origin(letter: DeadLetter) -> str:
    where = f" in {letter.handler}" if letter.handler else ""
    by = f" by {letter.error_type}" if letter.error_type else ""
    text = f"Failed in {letter.stage}{where}{by}, last at {letter.last_failed.isoformat()}."
    return ascii(text)[1:-1]


def _literal(body: bytes) -> str:
    """Write bytes as a literal, over several lines where it is long."""
    return pprint.pformat(body, width=96)
