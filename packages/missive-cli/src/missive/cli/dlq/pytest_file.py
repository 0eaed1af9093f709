"""A dead letter as a test for pytest."""

from __future__ import annotations

from missive import DeadLetter
from missive.letters import named, write_test

from ..targets import Target

_READY_MADE = {"raw": "missive.RawMessage", "json": "missive.JSONMessage"}


def test_of(letter: DeadLetter, target: Target, message: str | None) -> str:
    """Write a test that sends the message of a letter to the processor of a target.

    :param message: the class of its messages as the command was given it, if it was.
    :returns: the test as Python source, in ASCII.
    """
    module, expression = _reference(target.spec)
    if target.called:
        expression += "()"
    modules = {module}
    if target.adapter is not None:
        processor, message_cls = f"{expression}.processor", f"{expression}.message_cls"
    else:
        assert message is not None, "a processor comes with --message"
        processor, message_cls = expression, _READY_MADE.get(message, "")
        if not message_cls:
            module, message_cls = _reference(message)
            modules.add(module)
    return write_test(letter, processor=processor, message_cls=message_cls, modules=modules)


def _reference(spec: str) -> tuple[str, str]:
    """Return the module to import, and what to write for a target then."""
    module, _, path = spec.partition(":")
    return named(module, path)
