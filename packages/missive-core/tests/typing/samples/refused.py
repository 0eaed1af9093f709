"""Mistakes that a type checker must report, each in the line that says so."""

from __future__ import annotations

import missive

processor: missive.Processor[missive.JSONMessage] = missive.Processor()
Handling = missive.HandlingContext[missive.JSONMessage]


def is_empty(message: missive.JSONMessage) -> bool:
    return not message.raw_data


def without_context(message: missive.JSONMessage) -> None:
    print(message)


def of_bytes(message: bytes, ctx: Handling) -> None:
    ctx.ack()


def of_another_class(
    message: missive.DictMessage, ctx: missive.HandlingContext[missive.DictMessage]
) -> None:
    ctx.ack()


def hook_without_handling_context(ctx: missive.ProcessingContext[missive.JSONMessage]) -> None:
    print(ctx)


def fits(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.acknowledge()  # refused
    message.get_xml()  # refused


processor.handle_for(is_empty)(fits)
processor.handle_for("sign-in")  # refused
processor.handle_for(is_empty)(without_context)  # refused
processor.handle_for(is_empty)(of_bytes)  # refused
processor.handle_for(is_empty)(of_another_class)  # refused
processor.before_handling(hook_without_handling_context)  # refused
processor.set_dlq([])  # refused
processor.test_client().send(42)  # refused
