"""What adapters are called by OpenTelemetry."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

pytest.importorskip("opentelemetry.semconv")

from opentelemetry.semconv._incubating.attributes import messaging_attributes

#: Systems of our own, which the registry has no name for.
OURS = {"redis", "nats"}


def test_every_transport_has_the_name_that_the_registry_gives_it() -> None:
    """``messaging_system`` is published, or one of those that the documentation marks as ours."""
    published = {system.value for system in messaging_attributes.MessagingSystemValues}
    adapters = {point.load() for point in entry_points(group="missive.adapters")}
    systems = {getattr(adapter, "messaging_system", None) for adapter in adapters} - {None}
    assert systems
    assert systems <= published | OURS
    assert not published & OURS
