"""Connections that are replaced: what is left of the old one."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from missive import HandlingContext, Message

from ..contract import check, expect
from ..lab import AdapterLab, Running, wait_until
from ..styles import ASYNC, kind_of, size_of

NETWORK = (
    "PollingAdapter",
    "crash_redelivery",
    "reconnects",
    "harness.endpoint",
    "harness.proxied",
)


def reconnected(proxy: Any, running: Running) -> None:
    """Cut all connections, and wait until the adapter has another."""
    before = running.adapter.status().reconnections
    proxy.reset()
    wait_until(
        lambda: running.adapter.status().reconnections > before and running.adapter.ready.is_set(),
        running.patience,
        "it did not connect again and become ready",
    )


class Connections:
    """What holds for messages that came on a connection which is lost, or from a lost source."""

    @check("A140", profile="faults", needs=NETWORK, read="adapters#reconnecting")
    def test_a140_the_backlog_of_a_lost_connection_is_dropped(self, lab: AdapterLab) -> None:
        """After a reconnection nothing that came on the old connection is begun: what had not
        begun is handled once, as the transport delivers it again.
        """
        gate = threading.Event()

        def hold_the_first(message: Message, ctx: HandlingContext[Any]) -> None:
            if len(recorder.seen) == 1:
                gate.wait(3 * lab.patience)
            ctx.ack()

        proxy = lab.proxy()
        # So async handlers run one at a time, as plain ones do; batch handlers run one batch at a time.
        one: dict[str, Any] = {"workers": 1, "max_in_flight": 1}
        singly = one if kind_of(lab.style) == ASYNC else {}
        recorder = lab.record(hold_the_first, blocks=True)
        bodies = {b"backlog %d" % number for number in range(8)}
        for body in sorted(bodies):
            lab.publish(body)
        with lab.running(recorder, **singly) as running:
            recorder.wait_seen(1)
            # Acks that are kept back are due once the first is handled: its own finds the loss.
            kept_back = time.monotonic() + (running.adapter.flush_interval or 0.0)
            for _ in range(2):  # once to notice it, and once more while it notices
                proxy.reset()
            wait_until(lambda: time.monotonic() > kept_back, lab.patience, "the clock stands")
            gate.set()
            wait_until(
                lambda: set(recorder.bodies) >= bodies, lab.patience, "not all messages came"
            )
            lab.expect_settled()
        twice = [body for body, count in Counter(recorder.bodies).items() if count > 1]
        most = size_of(lab.style)
        expect(
            len(twice) <= most,
            f"{len(twice)} messages were handled twice, where {most} may have been in flight",
        )

    @check(
        "A141",
        profile="faults",
        needs=(*NETWORK, "settles_across_connections=False"),
        read="adapters#reconnecting",
    )
    def test_a141_a_lost_connections_settlement_is_not_sent(self, lab: AdapterLab) -> None:
        """What a handler decides about a delivery of a lost connection settles nothing: the
        message is settled as its redelivery is.
        """
        first, again = threading.Event(), threading.Event()

        def hold(message: Message, ctx: HandlingContext[Any]) -> None:
            (first if len(recorder.seen) == 1 else again).wait(3 * lab.patience)
            ctx.ack()

        proxy = lab.proxy()
        recorder = lab.record(hold, observe=True, blocks=True)
        with lab.running(recorder, workers=2, max_in_flight=8) as running:
            lab.publish(b"handled twice at once")
            recorder.wait_seen(1)
            reconnected(proxy, running)
            recorder.wait_seen(2)
            first.set()
            recorder.wait_settled(1)
            remaining = lab.least_remaining()
            again.set()
            lab.expect_settled()
        expect(remaining == 1, "the decision on the old delivery settled the new one")

    @check("A142", needs=("PollingAdapter", "crash_redelivery"), read="adapters#reconnecting")
    def test_a142_a_withdrawn_source_is_left_alone(self, lab: AdapterLab) -> None:
        """When a source is withdrawn, what had not begun never begins, and what a handler decides
        afterwards is not sent.
        """
        gate, taken, withdrawn = threading.Event(), threading.Event(), threading.Event()

        def hold(message: Message, ctx: HandlingContext[Any]) -> None:
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(hold, observe=True)
        adapter: Any = lab.harness.make_adapter(recorder.processor, workers=2, max_in_flight=8)
        receive = adapter.receive

        def withdraw_once(timeout: float) -> Sequence[Any]:
            if taken.is_set() and not withdrawn.is_set():
                adapter.withdraw([str(recorder.seen[0].source)], 0.0)
                withdrawn.set()
            return [] if withdrawn.is_set() and not adapter.wait(0.01) else receive(timeout)

        adapter.receive = withdraw_once
        with lab.running(recorder, adapter=adapter):
            lab.publish(b"taken away")
            recorder.wait_seen(1)
            taken.set()
            adapter.wake()
            expect(withdrawn.wait(lab.patience), "receive() was not called while a handler ran")
            gate.set()
            recorder.wait_settled(1)
            remaining = lab.least_remaining()
        expect(remaining == 1, "a message of a source that was withdrawn was settled")
