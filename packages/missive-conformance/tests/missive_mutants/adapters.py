"""Broken adapters. Each is one mistake that an author could make."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import socket
import threading
import uuid
from collections import UserDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from missive import Delivery, HandlingContext, Message, Outcome, Processor, RawMessage
from missive.conformance import AdapterConformance

from .harness import (
    AnsweringHarness,
    BrokerHarness,
    CountingHarness,
    DelayingHarness,
    FleetingHarness,
    OrderlyHarness,
    TinyHarness,
)
from .mutation import Mutants
from .transport import (
    AnsweringAdapter,
    BrokerClient,
    CountingAdapter,
    DelayingAdapter,
    FleetingAdapter,
    OrderlyAdapter,
    Refused,
    SoundAdapter,
    TinyAdapter,
)

MUTANTS = Mutants(AdapterConformance, "adapter_cls")
sound = BrokerHarness


class Rewriting(SoundAdapter):
    """A base for adapters that change bodies on the way."""

    def deliver(self, line: dict[str, Any]) -> Delivery:
        delivery = super().deliver(line)
        delivery.raw_data = self.rewrite(delivery.raw_data)
        return delivery

    def rewrite(self, body: bytes) -> bytes:
        """Return what becomes of a body."""
        return body


class OwnProcessor(BrokerClient):
    """A base for adapters that run another processor than the one they were given."""

    def run(self) -> None:
        given = self.processor
        self.processor = copy.copy(given)
        try:
            self.meddle(self.processor)
            super().run()
        finally:
            self.processor = given

    def meddle(self, processor: Any) -> None:
        """Change the processor that is run."""


# Construction and readiness.


@MUTANTS.add(sound, "A01")
class ConnectsWhenBuilt(SoundAdapter):
    """Opens a socket in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.early = socket.socket()


@MUTANTS.add(sound, "A01")
class StartsAThreadWhenBuilt(SoundAdapter):
    """Starts a thread in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        threading.Thread(target=threading.Event().wait, args=(5.0,), daemon=True).start()


@MUTANTS.add(sound, "A01")
class TakesSignalsWhenBuilt(SoundAdapter):
    """Installs signal handlers in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda signum, frame: self.stop())


@MUTANTS.add(sound, "A02")
class SaysNothing(BrokerClient):
    """States no capabilities."""


@MUTANTS.add(sound, "A03")
class AnyMessageClass(SoundAdapter):
    """Takes a message class without a look at it."""

    def __init__(self, message_cls: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(RawMessage, *arguments, **options)
        self.message_cls = message_cls


@MUTANTS.add(sound, "A04")
class AnyOptions(SoundAdapter):
    """Fixes impossible options in silence."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        possible = {name: given for name, given in options.items() if not _is_too_small(given)}
        super().__init__(*arguments, **possible)


def _is_too_small(given: object) -> bool:
    return isinstance(given, (int, float)) and given <= 0


@MUTANTS.add(sound, "A05")
class ReadyForEver(SoundAdapter):
    """Says that it is ready before it runs and after."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ready.clear = lambda: None  # type: ignore[method-assign]
        self.ready.set()


@MUTANTS.add(sound, "A05", "A110", "A111")
class StaysReady(SoundAdapter):
    """Is still ready when its connection is lost and when its run is over."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ready.clear = lambda: None  # type: ignore[method-assign]


@MUTANTS.add(FleetingHarness, "A06")
class ReadyTooSoon(FleetingAdapter):
    """Says that it is ready when it has connected, before it has subscribed."""

    subscribed = False

    def subscribe(self) -> None:
        self.subscribed = False

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        if not self.subscribed:
            self.wait(0.2)
            super().subscribe()
            self.subscribed = True
        return super().receive(timeout)


@MUTANTS.add(sound, "A07")
class EntersTwice(SoundAdapter):
    """Enters the processing context twice."""

    def _run(self) -> None:
        with self.processor.context(self.message_cls, self):
            super()._run()


@MUTANTS.add(
    sound,
    "A08",
    "A39",
    "A41",
    "A43",
    "A46",
    "A50",
    "A51",
    "A55",
    "A65",
    "A79",
    "A86",
    "A100",
    "A102",
    "A132",
    "A123",
)
class SwallowsErrors(SoundAdapter):
    """Returns from run() whatever was raised in it."""

    def run(self) -> None:
        with contextlib.suppress(BaseException):
            super().run()


@MUTANTS.add(sound, "A09")
class TakesAnyUrl(SoundAdapter):
    """Ignores what it does not know in a URL."""

    @classmethod
    def from_url(
        cls, url: str, message_cls: Any, processor: Processor[Any], **options: Any
    ) -> BrokerClient:
        return super().from_url(url.partition("?")[0], message_cls, processor, **options)


@MUTANTS.add(sound, "A10", "A42", "A43")
class IgnoresTheMessageClass(SoundAdapter):
    """Makes a RawMessage of everything."""

    def __init__(self, message_cls: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(message_cls, *arguments, **options)
        self.message_cls = RawMessage


# Bytes.


@MUTANTS.add(sound, "A11")
class Strips(Rewriting):
    """Strips white space from the ends of a body."""

    def rewrite(self, body: bytes) -> bytes:
        return body.strip(b" \t")


@MUTANTS.add(sound, "A12")
class ManglesLineEnds(Rewriting):
    """Turns CRLF into LF."""

    def rewrite(self, body: bytes) -> bytes:
        return body.replace(b"\r\n", b"\n")


@MUTANTS.add(sound, "A12")
class EndsAtNul(Rewriting):
    """Takes a NUL for the end."""

    def rewrite(self, body: bytes) -> bytes:
        return body.partition(b"\0")[0]


@MUTANTS.add(sound, "A12")
class Transcodes(Rewriting):
    """Decodes and encodes a body as UTF-8."""

    def rewrite(self, body: bytes) -> bytes:
        return body.decode("utf-8", "replace").encode()


@MUTANTS.add(sound, "A13")
class DropsEmptyBodies(SoundAdapter):
    """Skips bodies of no bytes."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        return [one for one in super().receive(timeout) if one.raw_data]  # type: ignore[union-attr]


@MUTANTS.add(FleetingHarness, "A14")
class DeliversDeniedEmptyBodies(FleetingAdapter):
    """Delivers empty bodies, though it denies it."""

    def has_body(self, delivery: Delivery | bytes) -> bool:
        return True


@MUTANTS.add(sound, "A15", "A16")
class TruncatesAt4096(Rewriting):
    """Reads no more than 4096 bytes of a body."""

    def rewrite(self, body: bytes) -> bytes:
        return body[:4096]


@MUTANTS.add(sound, "A16")
class TruncatesLargeBodies(Rewriting):
    """Reads no more than half a megabyte of a body."""

    def rewrite(self, body: bytes) -> bytes:
        return body[:500_000]


@MUTANTS.add(TinyHarness, "A17")
class ForgetsItsLimit(TinyAdapter):
    """Hands over what is longer than its own limit."""

    def deliver(self, line: dict[str, Any]) -> Delivery:
        delivery = super().deliver(line)
        delivery.rejection = None
        return delivery


# Envelopes.


class OtherEnvelope(BrokerClient):
    """A base for adapters that give another envelope."""

    def envelope(self, line: dict[str, Any]) -> dict[str, Any]:
        return {**super().envelope(line), **self.other(line)}

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return what is different."""
        return {}


@MUTANTS.add(sound, "A18")
class DropsHeaders(OtherEnvelope, SoundAdapter):
    """Forgets the headers."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"headers": None}


@MUTANTS.add(FleetingHarness, "A19")
class InventsHeaders(OtherEnvelope, FleetingAdapter):
    """Gives headers that nobody sent, though it denies headers."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"headers": {"x-broker-tag": str(line["tag"])}}


@MUTANTS.add(sound, "A20")
class IdFromTheBody(OtherEnvelope, SoundAdapter):
    """Makes the id of a message from its body."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"message_id": line["body"][:40]}


@MUTANTS.add(sound, "A21")
class ForgetsTheSource(OtherEnvelope, SoundAdapter):
    """Does not say where a message came from."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"source": self.queues[0]}


@MUTANTS.add(sound, "A32", "A93")
class NewIdOnRedelivery(OtherEnvelope, SoundAdapter):
    """Gives a message another id with each delivery."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"message_id": f"{line['id']}-{line['count']}"}


@MUTANTS.add(sound, "A33", "A94")
class AlwaysTheFirstDelivery(OtherEnvelope, SoundAdapter):
    """Says 1 for every delivery."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"delivery_count": 1}


@MUTANTS.add(FleetingHarness, "A34")
class GuessesTheCount(OtherEnvelope, FleetingAdapter):
    """Says 1 for every delivery, though nobody counts."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"delivery_count": 1}


@MUTANTS.add(CountingHarness, "A154")
class RejectsWithoutAStage(CountingAdapter):
    """Rejects what came too often without saying at which stage, by which every run ends."""

    def reject(self, delivery: Delivery) -> None:
        delivery.rejection = ("delivered too often",)  # type: ignore[assignment]


@MUTANTS.add(CountingHarness, "A154")
class NeverRejects(CountingAdapter):
    """Takes max_deliveries, and delivers however often."""

    def reject(self, delivery: Delivery) -> None:
        return


# Which messages, how often, in which order.


@MUTANTS.add(sound, "A22", "A24")
class LosesTheLast(SoundAdapter):
    """Loses the last message of a batch of several."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        batch = super().receive(timeout)
        return batch[:-1] if len(batch) > 1 else batch


@MUTANTS.add(sound, "A117", "A23")
class LosesOneInAThousand(SoundAdapter):
    """Acks one message in every few hundred without having handled it."""

    delivered = 0

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        kept: list[Delivery | bytes] = []
        for delivery in super().receive(timeout):
            self.delivered += 1
            if self.delivered % 250:
                kept.append(delivery)
            else:
                self.ack_at_once(delivery.native)  # type: ignore[union-attr]
        return kept


@MUTANTS.add(sound, "A22", "A30", "A56")
class HandlesTwice(SoundAdapter):
    """Delivers every message twice."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        return [one for delivery in super().receive(timeout) for one in (delivery, delivery)]


@MUTANTS.add(sound, "A24", "A25")
class NewestFirst(SoundAdapter):
    """Gives the newest message of a batch first."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        return list(super().receive(timeout))[::-1]


@MUTANTS.add(sound, "A25")
class IgnoresTheOrderingKey(SoundAdapter):
    """Takes an ordering_key and does nothing with it."""

    def __init__(self, *arguments: Any, ordering_key: Any = None, **options: Any) -> None:
        super().__init__(*arguments, **options)


@MUTANTS.add(sound, "A26")
class HandlesWhatOthersHave(SoundAdapter):
    """Handles messages of other consumers too."""

    seen: list[Delivery | bytes] = []  # noqa: RUF012
    shown = 0

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        batch = super().receive(timeout)
        self.seen.extend(batch)
        others, self.shown = self.seen[self.shown :], len(self.seen)
        return others


@MUTANTS.add(FleetingHarness, "A27")
class OnlyOneGetsIt(FleetingAdapter):
    """Leaves to the first what is for all."""

    first: FleetingAdapter | None = None

    def has_body(self, delivery: Delivery | bytes) -> bool:
        if OnlyOneGetsIt.first is None or not OnlyOneGetsIt.first.ready.is_set():
            OnlyOneGetsIt.first = self
        return OnlyOneGetsIt.first is self and super().has_body(delivery)


@MUTANTS.add(sound, "A28")
class SharesItsConnection(SoundAdapter):
    """Keeps its connection on the class, so that a second adapter takes it from the first."""

    shared: socket.socket | None = None

    @property  # type: ignore[override]
    def _socket(self) -> socket.socket | None:
        return SharesItsConnection.shared

    @_socket.setter
    def _socket(self, value: socket.socket | None) -> None:
        SharesItsConnection.shared = value


@MUTANTS.add(sound, "A29", "A112")
class BeginsAfresh(SoundAdapter):
    """Throws away what was published before it came."""

    def subscribe(self) -> None:
        self.tell(op="purge")
        super().subscribe()


# Settlement.


@MUTANTS.add(
    sound, "A30", "A38", "A40", "A42", "A44", "A45", "A47", "A48", "A49", "A130", "A131", "A133"
)
class ForgetsAcks(SoundAdapter):
    """Does not tell the broker of acks."""

    def ack(self, message: Message) -> None:
        return


@MUTANTS.add(sound, "A52", "A53", "A46", "A90", "A91", "A92", "A93", "A94", "A96", "A98", "A123")
class AcksEarly(SoundAdapter):
    """Acks messages when they arrive."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        batch = super().receive(timeout)
        for delivery in batch:
            self.ack_at_once(delivery.native)  # type: ignore[union-attr]
        return batch


@MUTANTS.add(sound, "A31", "A32", "A33")
class NackAcks(SoundAdapter):
    """Acks what was nacked."""

    def nack(self, message: Message) -> None:
        self.ack(message)


@MUTANTS.add(sound, "A31")
class DropsNacks(SoundAdapter):
    """Does not tell the broker of nacks, so that the messages stay in flight."""

    def nack(self, message: Message) -> None:
        return


@MUTANTS.add(sound, "A54")
class NackedFirst(SoundAdapter):
    """Delivers what was nacked again before anything else, by itself."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        again = getattr(self, "again", [])
        self.again: list[Delivery | bytes] = []
        return again or super().receive(timeout)

    def nack(self, message: Message) -> None:
        envelope: Any = message.envelope
        self.again.append(envelope)


@MUTANTS.add(
    FleetingHarness, "A35", "A38", "A40", "A42", "A44", "A45", "A47", "A48", "A49", "A131", "A133"
)
class KeepsLettersToItself(OwnProcessor, FleetingAdapter):
    """Writes dead letters to a DLQ of its own."""

    def meddle(self, processor: Any) -> None:
        if processor.dlq is not None:
            processor.set_dlq({})


@MUTANTS.add(FleetingHarness, "A36", "A39", "A41", "A43", "A46", "A50", "A132")
class DiscardsWithoutADlq(OwnProcessor, FleetingAdapter):
    """Throws failed messages away where there is no DLQ."""

    def meddle(self, processor: Any) -> None:
        if processor.dlq is None:
            processor.set_dlq({})


@MUTANTS.add(AnsweringHarness, "A37")
class TellsOfSuccess(AnsweringAdapter):
    """Tells the sender of success whatever happened."""

    def nack(self, message: Message) -> None:
        self.ack(message)


@MUTANTS.add(AnsweringHarness, "A97", "A37", "A46")
class AnswersEarly(AnsweringAdapter):
    """Tells the sender of success when the message has arrived."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        batch = super().receive(timeout)
        for delivery in batch:
            self.ack_at_once(delivery.native)  # type: ignore[union-attr]
        return batch


@MUTANTS.add(sound, "A51")
class AcksWithoutALetter(OwnProcessor, SoundAdapter):
    """Acks a message whose dead letter could not be written."""

    def meddle(self, processor: Any) -> None:
        if processor.dlq is not None:
            processor.set_dlq(_Careless(processor.dlq))


class _Careless(UserDict[bytes, Any]):
    """A DLQ that says nothing of letters that it could not write."""

    def __setitem__(self, key: bytes, item: Any) -> None:
        with contextlib.suppress(OSError):
            self.data[key] = item

    def __init__(self, dlq: Any) -> None:
        super().__init__()
        self.data = dlq


@MUTANTS.add(sound, "A47")
class AcksInTheHandler(OwnProcessor, SoundAdapter):
    """Takes a message that its handler has acked for done with, whatever happens after."""

    def meddle(self, processor: Any) -> None:
        acked: set[bytes] = set()
        if processor.dlq is not None:
            processor.set_dlq(_Selective(processor.dlq, acked))

        @processor.after_handling
        def note(processing_ctx: Any, ctx: Any) -> None:
            if ctx.decision is Outcome.ACKED:
                acked.add(ctx.message.raw_data)


class _Selective(UserDict[bytes, Any]):
    """A DLQ that leaves out some messages."""

    def __init__(self, dlq: Any, without: set[bytes]) -> None:
        super().__init__()
        self.data, self.without = dlq, without

    def __setitem__(self, key: bytes, item: Any) -> None:
        if item[0].raw_data not in self.without:
            self.data[key] = item


@MUTANTS.add(sound, "A55")
class TurnsExitsIntoLetters(SoundAdapter):
    """Takes SystemExit in a handler for a failure of the message."""

    def run(self) -> None:
        try:
            super().run()
        except SystemExit:
            if self.processor.dlq is not None:
                self.processor.dlq[b"left"] = (RawMessage(b"left"), "the handler left")
            raise


# Workers.


@MUTANTS.add(sound, "A60", "A62", "A63")
class OneWorker(SoundAdapter):
    """Takes workers=4 and runs one."""

    def __init__(self, *arguments: Any, workers: int = 1, **options: Any) -> None:
        super().__init__(*arguments, **options)


@MUTANTS.add(sound, "A61")
class UnboundedInFlight(SoundAdapter):
    """Hands out more than max_in_flight."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.max_in_flight = 100


@MUTANTS.add(sound, "A62")
class SettlesInWorkers(SoundAdapter):
    """Acks from the worker that has handled the message."""

    def __init__(self, message_cls: Any, processor: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(message_cls, processor, *arguments, **options)

        @processor.after_handling
        def ack_at_once(processing_ctx: Any, ctx: Any) -> None:
            if ctx.decision is Outcome.ACKED:
                self.ack(ctx.message)


@MUTANTS.add(sound, "A63")
class AcksInOrder(SoundAdapter):
    """Holds acks back until everything before was acked."""

    def open(self) -> None:
        super().open()
        self.acked: set[int] = set()
        self.next = 1

    def ack(self, message: Message) -> None:
        self.acked.add(message.native)
        while self.next in self.acked:
            self.tell(op="ack", tag=self.next)
            self.next += 1


@MUTANTS.add(OrderlyHarness, "A64")
class AcksAsTheyCome(OrderlyAdapter):
    """Acks in the order in which handlers finish, though its class says that order counts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.capabilities = replace(self.capabilities, ordered_acks=False)


@MUTANTS.add(sound, "A65")
class ForgetsAcksWhenItFails(SoundAdapter):
    """Batches acks, and throws the last batch away where the run is ending."""

    flush_interval = 0.01

    def open(self) -> None:
        super().open()
        self.batch: list[int] = []

    def ack(self, message: Message) -> None:
        self.batch.append(message.native)

    def flush(self) -> None:
        if not self.ending:
            for tag in self.batch:
                self.tell(op="ack", tag=tag)
        self.batch.clear()


# Stopping.


@MUTANTS.add(sound, "A70", "A73", "A74")
class IgnoresStop(SoundAdapter):
    """Goes on after stop()."""

    def stop(self) -> None:
        return


@MUTANTS.add(sound, "A71")
class ForgetsAnEarlyStop(SoundAdapter):
    """Forgets a stop() that came before run()."""

    def run(self) -> None:
        self.stopped_at = None
        self.shutdown_handler.clear_flag()
        super().run()


@MUTANTS.add(sound, "A72", "A73")
class AbandonsAtStop(SoundAdapter):
    """Does not settle what is in flight when stop() comes."""

    def ack(self, message: Message) -> None:
        if not self.stopping:
            super().ack(message)


@MUTANTS.add(sound, "A73")
class ReturnsTooSoon(SoundAdapter):
    """Returns from run() at stop(), with a message in flight."""

    def run(self) -> None:
        self.ended = threading.Event()
        threading.Thread(target=self._run_aside, daemon=True).start()
        self.ended.wait()

    def _run_aside(self) -> None:
        super().run()
        self.ended.set()

    def stop(self) -> None:
        super().stop()
        self.ended.set()


@MUTANTS.add(sound, "A74")
class StopsOnce(SoundAdapter):
    """Raises when stop() is called a second time."""

    asked = False

    def stop(self) -> None:
        if self.asked:
            raise RuntimeError("stopped already")
        self.asked = True
        super().stop()


@MUTANTS.add(sound, "A71", "A72", "A75")
class RunsOnce(SoundAdapter):
    """Cannot be run a second time."""

    used = False

    def run(self) -> None:
        if self.used:
            raise RuntimeError("used already")
        self.used = True
        super().run()


@MUTANTS.add(sound, "A76")
class TakesSignalsAnywhere(SoundAdapter):
    """Installs signal handlers in whatever thread it runs in."""

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda signum, frame: self.stop())
        super().run()


@MUTANTS.add(sound, "A77")
class LeaksAThread(SoundAdapter):
    """Leaves a thread behind with each run."""

    def open(self) -> None:
        super().open()
        threading.Thread(target=threading.Event().wait, args=(20.0,), daemon=True).start()


@MUTANTS.add(sound, "A77")
class LeaksAFile(SoundAdapter):
    """Leaves a file open with each run."""

    def open(self) -> None:
        super().open()
        os.open(os.devnull, os.O_RDONLY)


@MUTANTS.add(sound, "A78")
class Spins(SoundAdapter):
    """Asks again at once where there is nothing."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        return super().receive(0.0)


@MUTANTS.add(sound, "A79")
class WaitsForEver(SoundAdapter):
    """Takes a drain_timeout and waits for ever."""

    def __init__(self, *arguments: Any, drain_timeout: float = 30.0, **options: Any) -> None:
        super().__init__(*arguments, **options)


@MUTANTS.add(sound, "A87", "A88")
class DiesOfSignals(SoundAdapter):
    """Leaves signals to the interpreter."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.shutdown_handler.enable = lambda: None  # type: ignore[method-assign]


# Discretion.


@MUTANTS.add(sound, "A85")
class LogsBodies(Rewriting):
    """Logs every body."""

    def rewrite(self, body: bytes) -> bytes:
        import logging

        logging.getLogger("mutants").debug("received %s", body)
        return body


@MUTANTS.add(sound, "A85", "A86")
class TalkativeMessages(SoundAdapter):
    """Makes messages that show their content."""

    def __init__(
        self, message_cls: Callable[[bytes], Any], *arguments: Any, **options: Any
    ) -> None:
        super().__init__(message_cls, *arguments, **options)
        if isinstance(message_cls, type):
            self.message_cls = type(
                "Talkative", (message_cls,), {"__repr__": _show, "__str__": _show}
            )


def _show(message: Message) -> str:
    return f"<Talkative {message.raw_data!r}>"


# At most once.


@MUTANTS.add(FleetingHarness, "A95")
class LosesMoreThanTheWindow(FleetingAdapter):
    """Loses every third message."""

    delivered = 0

    def has_body(self, delivery: Delivery | bytes) -> bool:
        self.delivered += 1
        return self.delivered % 3 != 0 and super().has_body(delivery)


# The network.


@MUTANTS.add(sound, "A100", "A101")
class ReadyWithoutABroker(SoundAdapter):
    """Takes a failed connection for an idle one."""

    def open(self) -> None:
        with contextlib.suppress(OSError):
            super().open()

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        if self._socket is None:
            self.wait(timeout)
            return ()
        return super().receive(timeout)


@MUTANTS.add(sound, "A102")
class TriesAWrongPassword(SoundAdapter):
    """Tries again with a password that was refused."""

    fatal_errors = ()


@MUTANTS.add(sound, "A103")
class CrashesWithoutAQueue(SoundAdapter):
    """Lets its client's own error out where a queue is missing."""

    def open(self) -> None:
        try:
            super().open()
        except Refused as error:
            raise KeyError(str(error)) from error


@MUTANTS.add(sound, "A110", "A111", "A113", "A117")
class NeverReconnects(SoundAdapter):
    """Ends at a lost connection."""

    connection_errors = ()


@MUTANTS.add(sound, "A118")
class ReconnectsInSilence(SoundAdapter):
    """Says nothing of a lost connection: it connects again within receive()."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        try:
            return super().receive(timeout)
        except OSError:
            self.ready.clear()
            self.close()
            self.open()
            self.ready.set()
            return ()


@MUTANTS.add(sound, "A114")
class NoHeartbeat(SoundAdapter):
    """Waits for ever on a connection over which nothing comes."""

    def beat(self) -> None:
        return


@MUTANTS.add(sound, "A115", "A15")
class TakesASegmentForALine(SoundAdapter):
    """Takes what one read gives for whole lines."""

    def split(self, chunk: bytes) -> list[dict[str, Any]]:
        lines = super().split(chunk)
        self._rest = b""
        return lines


@MUTANTS.add(sound, "A116")
class Impatient(SoundAdapter):
    """Gives a broker a hundredth of a second to answer."""

    handshake_timeout = 0.01


# Time.


@MUTANTS.add(DelayingHarness, "A120")
class ForgetsTheDelay(DelayingAdapter):
    """Says that it delays nacks, and has the broker deliver at once."""

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        for context in batch:
            context.delay = None
        super().settle(batch)


@MUTANTS.add(DelayingHarness, "A121", "A120")
class CountsNoAttempts(OtherEnvelope, DelayingAdapter):
    """Says that the broker counts, and gives no count."""

    def other(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"delivery_count": None}


@MUTANTS.add(sound, "A122")
class KeepsWhatIsDeferred(SoundAdapter):
    """Acks what was acked, and not what a store has taken over."""

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        super().settle([one for one in batch if one.outcome is not Outcome.DEFERRED])


@MUTANTS.add(sound, "A124")
class DeafToPauses(SoundAdapter):
    """Goes on after pause()."""

    def pause(self, reason: str = "paused") -> None:
        return


@MUTANTS.add(sound, "A124")
class PausedForEver(SoundAdapter):
    """Does not go on after resume()."""

    def resume(self, reason: str | None = None) -> None:
        return


@MUTANTS.add(sound, "A125")
class AbandonsAtAPause(SoundAdapter):
    """Does not settle what is in flight when a pause begins."""

    def ack(self, message: Message) -> None:
        if not self.pauses:
            super().ack(message)


@MUTANTS.add(sound, "A126")
class IgnoresStopWhilePaused(SoundAdapter):
    """Does not stop during a pause."""

    def stop(self) -> None:
        if not self.pauses:
            super().stop()


@MUTANTS.add(sound, "A127", "A124")
class EndsWhenPaused(SoundAdapter):
    """Takes a pause for the end."""

    def wait(self, timeout: float, readable: Any = None) -> bool:
        if self.status().paused:
            self.stop()
        return super().wait(timeout, readable)


@MUTANTS.add(sound, "A127", "A128")
class KnowsNoBreakers(OwnProcessor, SoundAdapter):
    """Handles messages as if no handler had a breaker."""

    def meddle(self, processor: Any) -> None:
        for handler in processor.handlers:
            handler.breaker = None


# Handlers.


@MUTANTS.add(sound, "A134")
class OneCoroutine(SoundAdapter):
    """Runs one coroutine at a time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options["max_in_flight"] = options.get("workers", 1)
        super().__init__(*arguments, **options)


@MUTANTS.add(sound, "A135", "A60")
class OneUnsettled(SoundAdapter):
    """Receives nothing more before everything is settled."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        if self.unsettled():
            self.wait(timeout)
            return ()
        self.kept = [*getattr(self, "kept", []), *super().receive(timeout)]
        return [self.kept.pop(0)] if self.kept else []


# Connections.


@MUTANTS.add(sound, "A140")
class RedeliversToo(SoundAdapter):
    """Delivers what was unsettled on a lost connection again, as the broker does."""

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        self.lost = list(deliveries)

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        lost, self.lost = getattr(self, "lost", []), []
        return lost or super().receive(timeout)


@MUTANTS.add(sound, "A141")
class TrustsOldTags(SoundAdapter):
    """Settles by tags of a connection that is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.capabilities = replace(self.capabilities, settles_across_connections=True)


@MUTANTS.add(sound, "A142")
class DeafToWithdrawals(SoundAdapter):
    """Keeps what was taken away."""

    def withdraw(self, sources: Collection[str], timeout: float = 0.0) -> None:
        return


# Conduct.


@MUTANTS.add(sound, "A150")
class LooksUpItsHost(SoundAdapter):
    """Looks up a name in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        socket.getaddrinfo(self.broker_address[0], self.broker_address[1])


@MUTANTS.add(sound, "A150")
class ReadsAFileWhenBuilt(SoundAdapter):
    """Reads a file in its constructor, and closes it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with open(os.devnull, "rb") as file:  # noqa: PTH123
            file.read()


@MUTANTS.add(sound, "A150")
class ReadsBesideItselfWhenBuilt(SoundAdapter):
    """Reads a file of the folder that it is imported from in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Path(__file__).parents[1].joinpath("caught.json").read_bytes()


@MUTANTS.add(sound, "A150")
class HasAThreadForAMoment(SoundAdapter):
    """Starts a thread in its constructor, and waits for its end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        thread = threading.Thread(target=threading.active_count)
        thread.start()
        thread.join()


@MUTANTS.add(sound, "A151")
class ReceivesWhenAsked(SoundAdapter):
    """Receives messages when it is asked for its status, and throws them away."""

    def status(self) -> Any:
        if self._socket is not None:
            self.receive(0.0)
        return super().status()


@MUTANTS.add(sound, "A152")
class SleepsInReceive(SoundAdapter):
    """Sleeps while it waits for messages, so that stop() does not wake it."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        received = super().receive(0.0)
        if not received:
            threading.Event().wait(3.0)
        return received


@MUTANTS.add(sound, "A153")
class NamedWhenBuilt(SoundAdapter):
    """Chooses its name at the broker in its constructor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.name = uuid.uuid4().hex
