"""The semantic conventions for messaging: the names that are used of them, and those of our own."""

from __future__ import annotations

#: The version of the conventions that the names below are of.
VERSION = "1.44.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{VERSION}"

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
GROUP = "messaging.consumer.group.name"
MESSAGE_ID = "messaging.message.id"
BATCH_COUNT = "messaging.batch.message_count"
ERROR_TYPE = "error.type"

DURATION = "messaging.process.duration"
CONSUMED = "messaging.client.consumed.messages"

# What the conventions have no name for.
HANDLER = "missive.handler"
OUTCOME = "missive.outcome"
ATTEMPT = "missive.attempt"
STAGE = "missive.stage"

#: The type of a delivery that stayed unsettled though its handler raised nothing.
UNSETTLED = "unsettled"
