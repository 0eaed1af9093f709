"""The public names of all distributions, which the reference documents and shows in use."""

from __future__ import annotations

import importlib

#: The packages whose names are public, in the order in which they are looked at.
PACKAGES = (
    "missive",
    "missive.errors",
    "missive.polling",
    "missive.letters",
    "missive.testing",
    "missive.adapters.stdin",
    "missive.adapters.replay",
    "missive.adapters.deferred",
    "missive.adapters.redis",
    "missive.adapters.kafka",
    "missive.adapters.nats",
    "missive.adapters.rabbitmq",
    "missive.adapters.sqs",
    "missive.webhooks",
    "missive.adapters.wsgi",
    "missive.adapters.asgi",
    "missive.dlq.sqlite",
    "missive.dlq.postgresql",
    "missive.prometheus",
    "missive.opentelemetry",
    "missive.web",
    "missive.conformance",
)


def public_names(package: str) -> dict[str, object]:
    """Return the public names of an installed package, none where it is not installed."""
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if not package.startswith(error.name or ""):
            raise
        return {}
    return {name: getattr(module, name) for name in getattr(module, "__all__", ())}
