"""Reference: how a test imports the processor that a page has."""

from __future__ import annotations

import sys

from missive import DeadLetter
from missive.letters import named, write_test

from .replaying import Target


def test_of(target: Target, letter: DeadLetter) -> str | None:
    """Return a test that sends the message of a letter to the processor.

    None where no module has the processor under a name, or the class of its messages.
    """
    processor = _name_of(target.processor, _modules(target))
    message_cls = _class_name(target.message_cls)
    if processor is None or message_cls is None:
        return None
    needed, expression = named(*processor)
    class_needed, class_expression = named(*message_cls)
    return write_test(
        letter,
        processor=expression,
        message_cls=class_expression,
        modules={needed, class_needed},
    )


def _modules(target: Target) -> list[str]:
    """Return the modules of the handlers, where a processor most likely has its name."""
    handlers = target.processor.handlers
    return list(dict.fromkeys(handler.function.__module__ for handler in handlers))


def _name_of(thing: object, modules: list[str]) -> tuple[str, str] | None:
    for module in modules:
        if module == "__main__":
            continue
        for name, value in vars(sys.modules.get(module, object)).items():
            if value is thing:
                return module, name
    return None


def _class_name(message_cls: object) -> tuple[str, str] | None:
    name = getattr(message_cls, "__qualname__", "")
    module = getattr(message_cls, "__module__", "__main__")
    if not name or "<" in name or module == "__main__":
        return None
    if module.startswith("missive.") and hasattr(sys.modules["missive"], name):
        module = "missive"
    return module, name
