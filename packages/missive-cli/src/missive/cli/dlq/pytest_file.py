"""A dead letter as a test for pytest."""

from __future__ import annotations

import pprint
import re
from keyword import iskeyword
from textwrap import dedent

from missive import DeadLetter, format_id

from ..targets import Target

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

_READY_MADE = {"raw": "missive.RawMessage", "json": "missive.JSONMessage"}


def write_test(letter: DeadLetter, target: Target, message: str | None) -> str:
    """Write a test that sends the message of a letter to a processor.

    :param target: the processor.
    :param message: the class of its messages as the command was given it, if it was.
    :returns: the test as Python source, in ASCII.
    """
    module, expression = _reference(target.spec)
    if target.called:
        expression += "()"
    modules = {module, "missive"}
    if target.adapter is not None:
        processor, message_cls = f"{expression}.processor", f"{expression}.message_cls"
    else:
        assert message is not None, "a processor comes with --message"
        processor, message_cls = expression, _READY_MADE.get(message, "")
        if not message_cls:
            module, message_cls = _reference(message)
            modules.add(module)
    return _TEMPLATE.format(
        imports="\n".join(f"import {name}" for name in sorted(modules)),
        origin=_origin(letter),
        body=_literal(letter.raw_data),
        name=re.sub(r"\W+", "_", format_id(letter.id), flags=re.ASCII).strip("_") or "empty",
        processor=processor,
        message_cls=message_cls,
        message_id=repr(letter.message_id or letter.id),
        headers=ascii(dict(letter.headers)),
        source=ascii(letter.source),
    )


def _reference(spec: str) -> tuple[str, str]:
    """Return the module to import, and what to write for a target then."""
    module, _, path = spec.partition(":")
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
