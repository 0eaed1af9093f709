"""What an adapter may be given, and what it refuses with the remedy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from missive import ConfigurationError, RawMessage
from missive.errors import InvalidMessageClass

from webhook_suite import make_adapter


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"path": "hooks"}, "begins with /"),
        ({"path": "/a?b"}, "no query"),
        ({"path": None}, "begins with /"),
        ({"max_content_length": -1}, "max_content_length=-1"),
        ({"max_content_length": None}, "whole number of bytes"),
        ({"max_content_length": True}, "max_content_length"),
        ({"id_header": "X Id"}, "name of a header"),
        ({"id_header": ""}, "name of a header"),
        ({"content_types": ["json"]}, "'json'"),
        ({"content_types": ["text/plain; charset=utf-8"]}, "without parameters"),
        ({"health_paths": ("/a",)}, "two paths"),
        ({"health_paths": ("/a", "/a")}, "differ"),
        ({"health_paths": ("/a", "/")}, "differ"),
        ({"health_paths": ("a", "/b")}, "begins with /"),
        ({"nack_status": 200}, "400 to 599"),
        ({"nack_status": "500"}, "400 to 599"),
        ({"retry_after": -1}, "retry_after=-1"),
        ({"retry_after": 1.5}, "whole number of seconds"),
        ({"drain_timeout": -1}, "drain_timeout"),
        ({"drain_timeout": float("nan")}, "drain_timeout"),
        ({"inbox": True, "remember": timedelta(0)}, "handled twice"),
        ({"inbox": True, "remember": 3}, "timedelta"),
        ({"inbox": True, "inbox_workers": -1}, "inbox_workers=-1"),
    ],
    ids=repr,
)
def test_refused(processor, options, match):
    """An option that cannot work is refused when the adapter is built."""
    with pytest.raises(ConfigurationError, match=match):
        make_adapter(RawMessage, processor, **options)


def test_message_class_is_checked(processor):
    """A message class that does not take the bytes alone is refused."""
    with pytest.raises(InvalidMessageClass):
        make_adapter(int, processor)


def test_one_content_type(processor):
    """One media type may be given by itself."""
    adapter = make_adapter(RawMessage, processor, content_types="Text/Plain")
    assert adapter.content_types == {"text/plain"}
