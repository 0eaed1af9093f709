"""The model: a state machine that compares a DLQ with a dict."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ..contract import expect
from ..dlq_lab import DLQLab, message

KEYS = st.sampled_from([b"", b"\0", b"a", b"A", b"aa", b"\xff", b"'"]).filter(bool)
BODIES = st.binary(max_size=40)
REASONS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def machine_for(lab: DLQLab) -> type[RuleBasedStateMachine]:
    """Make the machine that compares the DLQ of a lab with a dict, beginning with an empty one."""

    class Comparison(RuleBasedStateMachine):
        """A DLQ beside a dict of (body, reason)."""

        def __init__(self) -> None:
            super().__init__()
            self.dlq: Any = lab.open()
            self.dlq.clear()
            self.model: dict[bytes, tuple[bytes, str]] = {}

        @rule(key=KEYS, body=BODIES, reason=REASONS)
        def put(self, key: bytes, body: bytes, reason: str) -> None:
            self.dlq[key] = (message(key, body), reason)
            self.model[key] = (body, reason)

        @rule(key=KEYS)
        def delete(self, key: bytes) -> None:
            if key in self.model:
                del self.dlq[key]
                del self.model[key]
            else:
                try:
                    del self.dlq[key]
                except KeyError:
                    return
                expect(False, "deleting a key that is not there raised no KeyError")

        @rule(key=KEYS)
        def read(self, key: bytes) -> None:
            found = self.dlq.get(key)
            mine = (found[0].raw_data, found[1]) if found is not None else None
            expect(mine == self.model.get(key), "a key gives another entry than a dict would")

        @rule()
        def reopen(self) -> None:
            if lab.harness.persistent:
                self.dlq.close()
                self.dlq = lab.open()

        @invariant()
        def same_keys(self) -> None:
            expect(len(self.dlq) == len(self.model), "the length is another than a dict's")
            expect(
                list(self.dlq) == list(self.model), "the keys, or their order, differ from a dict's"
            )

    return Comparison
