"""The network: brokers that are not there, go away, or can hardly be reached."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

from missive import MissiveError
from missive.errors import TransportRefused, TransportUnreachable

from ..contract import check, expect
from ..lab import AdapterLab, Running, wait_until
from ..recorder import Recorder
from .delivery import difference, filler
from .discretion import LogTrap

#: How long an adapter is to try in vain, in seconds.
IN_VAIN = 0.5


def expect_only(recorder: Recorder, expected: set[bytes]) -> None:
    """Make sure that these bodies, and no damaged ones, reached a handler."""
    came = set(recorder.bodies)
    expect(came <= expected, f"{len(came - expected)} bodies arrived that nobody published")
    expect(came == expected, f"{len(expected - came)} of {len(expected)} messages never came")


class Network:
    """What holds when the way to the broker is bad."""

    @check(
        "A100", needs=("PollingAdapter", "harness.unreachable_adapter"), read="adapters#connecting"
    )
    def test_a100_an_unreachable_broker_is_told(self, lab: AdapterLab) -> None:
        """Where nothing listens, connect_timeout ends run() with TransportUnreachable."""
        recorder = lab.record()
        adapter = lab.harness.unreachable_adapter(recorder.processor, connect_timeout=IN_VAIN)
        with lab.running(recorder, adapter=adapter, ready=False) as running:
            error = running.failure()
        expect(isinstance(error, TransportUnreachable), f"run() raised {type(error).__name__}")
        expect(error.__cause__ is not None, "the error is not chained to the client's own")

    @check(
        "A101", needs=("PollingAdapter", "harness.unreachable_adapter"), read="adapters#connecting"
    )
    def test_a101_waiting_for_a_broker_can_be_stopped(self, lab: AdapterLab) -> None:
        """Where nothing listens and no timeout is set, it tries on, not ready, until stop()."""
        recorder = lab.record()
        adapter: Any = lab.harness.unreachable_adapter(recorder.processor)
        with lab.running(recorder, adapter=adapter, ready=False) as running:
            ended = running.ended.wait(IN_VAIN)
            expect(not ended, "run() ended instead of trying again")
            expect(not adapter.ready.is_set(), "ready was set although nothing listens")
            running.stop()

    @check("A102", needs=("harness.refused_adapter",), read="adapters#connecting")
    def test_a102_wrong_credentials_end_it(self, lab: AdapterLab) -> None:
        """Credentials that are not accepted end run() at once with TransportRefused."""
        recorder = lab.record()
        adapter = lab.harness.refused_adapter(recorder.processor)
        with lab.running(recorder, adapter=adapter, ready=False) as running:
            error = running.failure()
        expect(isinstance(error, TransportRefused), f"run() raised {type(error).__name__}")

    @check("A103", needs=("harness.missing_adapter",), read="adapters#connecting")
    def test_a103_a_missing_queue_is_told_or_awaited(self, lab: AdapterLab) -> None:
        """What does not exist is told by a MissiveError, or awaited until stop(); nothing hangs."""
        recorder = lab.record()
        adapter = lab.harness.missing_adapter(recorder.processor)
        with lab.running(recorder, adapter=adapter, ready=False) as running:
            running.may_fail = True
            running.ended.wait(IN_VAIN)
            running.stop()
            error = running.error
            expect(
                error is None or isinstance(error, MissiveError),
                f"run() raised {type(error).__name__}",
            )

    @check(
        "A110",
        profile="faults",
        needs=("reconnects", "harness.down", "harness.up"),
        read="adapters#reconnecting",
    )
    def test_a110_it_outlives_a_restart(self, lab: AdapterLab) -> None:
        """While its broker is down it is not ready; when the broker is back, messages
        are delivered again.
        """
        recorder = lab.record()
        with lab.running(recorder) as running:
            lab.publish(b"before")
            recorder.wait_seen(1)
            lab.expect_settled()
            lab.harness.down()
            running.wait_not_ready()
            lab.harness.up()
            running.wait_ready()
            lab.publish(b"after")
            recorder.wait_seen(2)
            lab.expect_settled()
        expect_only(recorder, {b"before", b"after"})

    @check(
        "A111",
        profile="faults",
        needs=("reconnects", "harness.kill", "harness.up"),
        read="adapters#reconnecting",
    )
    def test_a111_it_outlives_a_kill(self, lab: AdapterLab) -> None:
        """When its broker is killed with a message in flight, it goes on when the broker is back."""
        gate, inside = threading.Event(), threading.Event()

        def hold(message: Any, ctx: Any) -> None:
            inside.set()
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(hold)
        with lab.running(recorder) as running:
            lab.publish(b"in flight")
            expect(inside.wait(lab.patience), "the message did not reach the handler")
            lab.harness.kill()
            gate.set()
            running.wait_not_ready()
            lab.harness.up()
            running.wait_ready()
            lab.publish(b"after")
            wait_until(
                lambda: b"after" in recorder.bodies, lab.patience, "no message came after the kill"
            )
            lab.expect_settled()
        expect_only(recorder, {b"in flight", b"after"})

    @check(
        "A112",
        profile="faults",
        needs=("persistent", "harness.down", "harness.up"),
        read="adapters#persistence",
    )
    def test_a112_messages_outlive_a_restart(self, lab: AdapterLab) -> None:
        """Messages that the broker confirmed before it was restarted are delivered after it."""
        bodies = {b"kept %d" % number for number in range(10)}
        for body in sorted(bodies):
            lab.publish(body)
        lab.harness.down()
        lab.harness.up()
        recorder = lab.record()
        with lab.running(recorder):
            recorder.wait_seen(10)
            lab.expect_settled()
        expect_only(recorder, bodies)

    @check(
        "A113",
        profile="faults",
        needs=("reconnects", "harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a113_a_cut_connection_is_taken_up_again(self, lab: AdapterLab) -> None:
        """When its connections are reset, it connects again, and messages come."""
        proxy = lab.proxy()
        recorder = lab.record()
        with lab.running(recorder) as running:
            for number in range(3):
                accepted = proxy.accepted
                proxy.reset()
                self._back(proxy, accepted, running)
                lab.publish(b"after cut %d" % number)
                recorder.wait_seen(number + 1)
            lab.expect_settled()
        expect_only(recorder, {b"after cut %d" % number for number in range(3)})

    def _back(self, proxy: Any, accepted: int, running: Running) -> None:
        wait_until(
            lambda: proxy.accepted > accepted and running.adapter.ready.is_set(),
            running.patience,
            "it did not connect again and become ready",
        )

    @check(
        "A114",
        profile="faults",
        needs=("reconnects", "harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a114_a_half_open_connection_is_noticed(self, lab: AdapterLab) -> None:
        """A connection over which nothing comes any more is noticed, and made again."""
        proxy = lab.proxy()
        recorder = lab.record()
        with lab.running(recorder) as running:
            lab.publish(b"before")
            recorder.wait_seen(1)
            lab.expect_settled()
            accepted = proxy.accepted
            proxy.stall()
            wait_until(
                lambda: proxy.accepted > accepted,
                lab.patience,
                "it did not try another connection, over which nothing comes",
            )
            proxy.resume()
            running.wait_ready()
            self._publish_until_seen(lab, recorder)
            lab.expect_settled()
        damaged = set(recorder.bodies) - {b"before", b"after"}
        expect(not damaged, f"{len(damaged)} bodies arrived that nobody published")

    def _publish_until_seen(self, lab: AdapterLab, recorder: Recorder) -> None:
        """Publish until something arrives: readiness may be that of the connection just lost."""
        if lab.capabilities.persistent:
            lab.publish(b"after")

        def came() -> bool:
            if not lab.capabilities.persistent:
                lab.publish(b"after")
            return b"after" in recorder.bodies

        wait_until(came, lab.patience, "no message came over the new connection")

    @check(
        "A115",
        profile="faults",
        needs=("harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a115_bytes_may_come_one_by_one(self, lab: AdapterLab) -> None:
        """Messages arrive whole where the network delivers every byte by itself."""
        proxy = lab.proxy()
        proxy.sliced = True
        recorder = lab.record()
        body = filler(min(3000, lab.capabilities.max_bytes or 3000))
        with lab.running(recorder):
            for number in range(1, 4):
                lab.publish(body)
                came = recorder.wait_seen(number)[-1].body
                expect(came == body, difference(body, came) if came != body else "")
            lab.expect_settled()

    @check(
        "A116",
        profile="faults",
        needs=("harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a116_a_slow_network_loses_nothing(self, lab: AdapterLab) -> None:
        """Over a network with a latency of 30 ms each way, all messages come, once."""
        proxy = lab.proxy()
        proxy.latency = 0.03
        recorder = lab.record()
        bodies = {b"slowly %d" % number for number in range(20)}
        with lab.running(recorder):
            for body in sorted(bodies):
                lab.publish(body)
            recorder.wait_seen(20)
            lab.expect_settled()
        expect_only(recorder, bodies)
        twice = [body for body, times in Counter(recorder.bodies).items() if times > 1]
        expect(not twice, f"{len(twice)} messages came twice")

    @check(
        "A117",
        profile="faults",
        needs=("delivery=at-least-once", "reconnects", "harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a117_cuts_under_load_lose_nothing(self, lab: AdapterLab) -> None:
        """Connections that are cut again and again under load lose no message."""
        proxy = lab.proxy()
        recorder = lab.record()
        bodies = {b"under load %d" % number for number in range(300)}
        with lab.running(recorder) as running:
            for number, body in enumerate(sorted(bodies)):
                lab.publish(body)
                if number % 100 == 50:
                    accepted = proxy.accepted
                    proxy.reset()
                    self._back(proxy, accepted, running)
            wait_until(
                lambda: set(recorder.bodies) >= bodies, lab.patience, "not all messages came"
            )
            lab.expect_settled()
        expect_only(recorder, bodies)

    @check(
        "A118",
        profile="faults",
        needs=("reconnects", "harness.endpoint", "harness.proxied"),
        read="adapters#reconnecting",
    )
    def test_a118_a_lost_connection_is_logged(self, lab: AdapterLab) -> None:
        """A lost connection is logged as a warning: where messages may be lost, nobody
        wonders why.
        """
        proxy = lab.proxy()
        recorder = lab.record()
        with LogTrap(logging.WARNING) as trap, lab.running(recorder) as running:
            expect(not trap.text.getvalue(), "there was a warning before anything was wrong")
            accepted = proxy.accepted
            proxy.reset()
            self._back(proxy, accepted, running)
            # A client may connect again in a thread of its own, before it tells of the loss.
            wait_until(
                trap.text.getvalue,
                running.patience,
                "no warning was logged when the connection was lost",
            )
