"""The names, checked against the published registry."""

from __future__ import annotations

from missive.opentelemetry import conventions
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

OURS = "missive."


def published(*modules: object) -> set[str]:
    """Return the names that modules of the registry publish."""
    return {
        value for module in modules for value in vars(module).values() if isinstance(value, str)
    }


def test_every_name_is_published_or_marked_as_ours() -> None:
    """A name of ``messaging.`` or ``error.`` is in the registry; every other begins with ours."""
    known = published(messaging_attributes, messaging_metrics, error_attributes)
    used = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and name not in ("VERSION", "SCHEMA_URL", "UNSETTLED")
    }
    assert {name for name in used if not name.startswith(OURS)} <= known
    assert not {name for name in known if name.startswith(OURS)}


def test_the_version_is_a_published_schema() -> None:
    """The schema's address is one of those that the registry lists."""
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}


def test_operations_are_of_published_types() -> None:
    """Both types of operation are in the registry."""
    types = {kind.value for kind in messaging_attributes.MessagingOperationTypeValues}
    assert {"process", "settle"} <= types
