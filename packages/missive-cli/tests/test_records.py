"""Letters as JSON and back."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import DeadLetter, RawMessage
from missive.cli.dlq.records import BadRecord, from_record
from missive.letters import Failure, to_record

#: Any text that Python can hold, lone surrogates included: headers may have some.
texts = st.text(st.characters(exclude_categories=()), max_size=20)
moments = st.datetimes(timezones=st.just(timezone.utc))
stages = st.sampled_from(["decoding", "matching", "handling", "settling"])
maybe = st.none() | texts
failures = st.builds(Failure, moments, stages, texts, maybe, maybe)
letters = st.builds(
    DeadLetter,
    id=st.binary(max_size=20) | texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    raw_data=st.binary(max_size=50) | st.text(max_size=20).map(str.encode),
    reason=texts,
    stage=stages,
    first_failed=moments,
    last_failed=moments,
    message_id=st.binary(max_size=20),
    headers=st.dictionaries(texts, texts, max_size=3),
    source=maybe,
    message_class=maybe,
    error_type=maybe,
    traceback=maybe,
    handler=maybe,
    failures=st.integers(1, 10**12),
    position=st.none(),
    due=st.none() | moments,
    attempt=st.integers(0, 10**12),
    state=st.sampled_from(("dead", "deferred")),
    history=st.lists(failures, max_size=3).map(tuple),
    host=texts,
    version=texts,
)


@given(letters)
def test_nothing_is_lost_on_the_way(letter):
    """Whatever a letter holds, its line in an export gives back the very letter."""
    line = json.dumps(to_record(letter))
    assert line.isascii()
    assert "\n" not in line
    back = from_record(json.loads(line))
    assert back == letter
    assert dict(back.headers) == dict(letter.headers)


@given(letters, st.data())
def test_a_record_that_was_damaged_is_refused_or_read(letter, data):
    """A field of another kind never ends in another error than BadRecord."""
    record = to_record(letter)
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = data.draw(
        st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2) | texts
    )
    with suppress(BadRecord):
        from_record(record)


@pytest.mark.parametrize("text", ["a", "!!!!", "\x80"])
def test_a_body_that_is_not_base64_is_refused(text):
    """Whether the characters are wrong, their number, or both."""
    record = to_record(DeadLetter.from_failure(RawMessage(b"\xff"), stage="handling", reason="r"))
    with pytest.raises(BadRecord, match="its 'body_base64' is not base64"):
        from_record({**record, "body_base64": text})
