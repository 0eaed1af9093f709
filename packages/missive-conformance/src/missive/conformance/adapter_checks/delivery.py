"""How messages come: byte for byte, with their envelopes, in order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from missive import HandlingContext, Message
from missive.polling import PollingAdapter

from ..contract import check, expect
from ..lab import AdapterLab, Publication, wait_until

#: The body that makes an adapter without a limit of its own prove itself, in bytes.
LARGE = 1_000_000
#: Sizes at which buffers end.
EDGES = (1, 2, 1023, 1024, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, 131_073)


def filler(size: int) -> bytes:
    """Make a body of printable text in which every position can be told from its neighbours."""
    block = b"".join(b"%07d " % number for number in range(size // 8 + 1))
    return block[:size]


def difference(sent: bytes, came: bytes) -> str:
    """Say how two bodies differ, without their content."""
    if len(sent) != len(came):
        return f"{len(sent)} bytes were published and {len(came)} arrived"
    first = next(at for at, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b)
    return f"of {len(sent)} bytes the one at {first} arrived changed"


def carry(lab: AdapterLab, *bodies: bytes) -> None:
    """Make sure that bodies arrive as they were published."""
    recorder = lab.record()
    with lab.running(recorder):
        for number, body in enumerate(bodies, 1):
            publication = lab.publish(body)
            came = recorder.wait_seen(number)[-1].body
            expect(came == body, difference(body, came) if came != body else "")
            lab.expect_settled(publication)
    expect(
        len(recorder.seen) == len(bodies),
        f"{len(bodies)} messages were published and {len(recorder.seen)} delivered",
    )


def try_publish(lab: AdapterLab, body: bytes) -> Publication | None:
    """Publish what the transport may well refuse; None where it did."""
    try:
        return lab.publish(body)
    except Exception:  # the errors of transports have no common class
        return None


class Delivery:
    """What reaches a handler."""

    @check("A11", read="messages#bytes")
    def test_a11_text_arrives_as_it_is(self, lab: AdapterLab) -> None:
        """A body of UTF-8 text, with spaces at its ends, arrives unchanged."""
        carry(lab, "  Grüße, 世界 — \U0001f40c\t ".encode(), b"plain", b'{"a": [1, 2]}')

    @check("A12", needs=("binary_safe",), read="messages#bytes")
    def test_a12_every_byte_value_arrives(self, lab: AdapterLab) -> None:
        """All 256 byte values pass unchanged, line ends, NUL and invalid UTF-8 among them."""
        every = bytes(range(256))
        carry(lab, every, every[::-1], b"a\r\nb\nc\rd\r\n", b"\0", b"\xff\xfe", b"\n")

    @check("A13", needs=("empty_body",), read="messages#bytes")
    def test_a13_an_empty_body_arrives(self, lab: AdapterLab) -> None:
        """A body of no bytes is delivered, as no bytes."""
        carry(lab, b"", b"and one after it")

    @check("A14", needs=("empty_body=False",), read="adapters#capabilities")
    def test_a14_an_empty_body_stops_nothing(self, lab: AdapterLab) -> None:
        """Where empty bodies are not carried, one neither reaches a handler nor stops the next."""
        recorder = lab.record(dlq=lab.letters())
        with lab.running(recorder):
            try_publish(lab, b"")
            lab.publish(b"after it")
            recorder.wait_seen(1)
        expect(recorder.bodies == [b"after it"], "the empty body reached a handler")

    @check("A15", read="messages#bytes")
    def test_a15_no_size_is_special(self, lab: AdapterLab) -> None:
        """Bodies whose sizes lie around the ends of common buffers arrive whole."""
        limit = lab.capabilities.max_bytes or LARGE
        carry(lab, *(filler(size) for size in EDGES if size <= limit))

    @check("A16", read="messages#bytes")
    def test_a16_a_large_body_arrives(self, lab: AdapterLab) -> None:
        """A body of a million bytes, or of max_bytes where that is less, arrives whole."""
        carry(lab, filler(min(lab.capabilities.max_bytes or LARGE, LARGE)))

    @check("A17", needs=("max_bytes<=16777216",), read="adapters#capabilities")
    def test_a17_one_byte_over_the_limit_is_not_handled(self, lab: AdapterLab) -> None:
        """A body of max_bytes is handled; one byte more never reaches a handler, nor stops the
        next.
        """
        limit = lab.capabilities.max_bytes
        assert limit is not None
        letters = lab.letters()
        recorder = lab.record(dlq=letters)
        with lab.running(recorder):
            lab.publish(filler(limit))
            recorder.wait_seen(1)
            over = try_publish(lab, filler(limit + 1))
            if over is not None and lab.capabilities.delivery == "request-reply":
                expect(
                    not over.accepted(lab.patience) or len(letters),
                    "the sender was told of success, and there is no dead letter",
                )
            lab.publish(b"after it")
            recorder.wait_seen(2)
        sizes = [len(body) for body in recorder.bodies]
        expect(sizes == [limit, 8], f"bodies of these sizes were handled: {sizes}")

    @check("A18", needs=("headers",), read="messages#headers")
    def test_a18_headers_arrive(self, lab: AdapterLab) -> None:
        """Headers arrive with their values; their names compare without regard to case."""
        sent = {"X-Missive-Colour": "blue", "x-missive-number": "7"}
        recorder = lab.record()
        with lab.running(recorder):
            publication = lab.publish(b"with headers", headers=sent)
            (seen,) = recorder.wait_seen(1)
            lab.expect_settled(publication)
        headers = seen.message.headers
        for name, value in sent.items():
            for spelling in (name, name.lower(), name.upper()):
                expect(
                    headers.get(spelling) == value,
                    f"the header {spelling} is {'another' if spelling in headers else 'missing'};"
                    f" there are {', '.join(headers) or 'none'}",
                )

    @check("A19", needs=("headers=False",), read="messages#headers")
    def test_a19_headers_are_empty_where_denied(self, lab: AdapterLab) -> None:
        """Where headers are not carried, a message has none, and asking for one is harmless."""
        recorder = lab.record()
        with lab.running(recorder):
            lab.publish(b"without headers")
            (seen,) = recorder.wait_seen(1)
        expect(not seen.headers, f"there are headers: {', '.join(seen.headers)}")
        expect(seen.message.headers.get("x-any") is None, "a header came from nowhere")

    @check("A20", read="messages#ids")
    def test_a20_every_message_has_an_id_of_its_own(self, lab: AdapterLab) -> None:
        """Each message has an id of some bytes, and equal bodies still have different ids."""
        recorder = lab.record()
        with lab.running(recorder):
            publications = [lab.publish(b"the same body") for _ in range(10)]
            recorder.wait_seen(10)
            lab.expect_settled(*publications)
        ids = [seen.message_id for seen in recorder.seen]
        expect(all(isinstance(found, bytes) and found for found in ids), "an id is no bytes")
        expect(len(set(ids)) == 10, f"10 messages had {len(set(ids))} different ids")

    @check("A21", needs=("harness.sources",), read="messages#sources")
    def test_a21_several_sources_are_told_apart(self, lab: AdapterLab) -> None:
        """Messages from several sources all arrive, each saying which source it came from."""
        sources = lab.harness.sources
        recorder = lab.record()
        with lab.running(recorder):
            publications = [lab.publish(source.encode(), source=source) for source in sources]
            recorder.wait_seen(len(sources))
            lab.expect_settled(*publications)
        came = {seen.body.decode(): seen.source for seen in recorder.seen}
        expect(came == {source: source for source in sources}, f"they came from {came}")

    @check("A22", read="adapters#delivery")
    def test_a22_many_messages_come_once_each(self, lab: AdapterLab) -> None:
        """Of many messages none is left out and, in a quiet run, none is handled twice."""
        self._many(lab, 200)

    @check("A23", profile="stress", read="adapters#delivery")
    def test_a23_very_many_messages_come_once_each(self, lab: AdapterLab) -> None:
        """Of twenty thousand messages none is left out and none is handled twice."""
        self._many(lab, 20_000)

    def _many(self, lab: AdapterLab, count: int) -> None:
        asks = lab.capabilities.delivery == "request-reply"
        recorder = lab.record()
        with lab.running(recorder):
            for number in range(count):
                publication = lab.publish(b"message %d" % number)
                if asks:  # one sender, who waits for each answer
                    expect(publication.accepted(lab.patience), "the sender was told of a failure")
            recorder.wait_seen(count)
            lab.expect_settled()
        counts = Counter(recorder.bodies)
        missing = count - len(counts)
        twice = sum(1 for times in counts.values() if times > 1)
        expect(
            not missing and not twice,
            f"of {count} messages {missing} never came and {twice} came more than once",
        )

    @check("A24", needs=("ordering!=none",), read="adapters#ordering")
    def test_a24_messages_come_in_order(self, lab: AdapterLab) -> None:
        """Messages of one source are handled in the order in which they were published."""
        recorder = lab.record()
        with lab.running(recorder):
            for number in range(100):
                lab.publish(b"%d" % number)
            recorder.wait_seen(100)
        order = [int(body) for body in recorder.bodies]
        wrong = next((at for at in range(100) if order[at] != at), None)
        expect(wrong is None, f"message {wrong} was expected at its place; another came")

    @check(
        "A25",
        needs=("PollingAdapter", "ordering!=none", "ordered_acks=False"),
        read="adapters#ordering",
    )
    def test_a25_order_is_kept_within_a_key(self, lab: AdapterLab) -> None:
        """With several workers and an ordering_key, messages of one key are handled in order."""

        def key(message: Message) -> Hashable:
            return message.raw_data[:1]

        pause = threading.Event()

        def dawdle(message: Message, ctx: HandlingContext[Any]) -> None:
            # The earlier of two takes longer, so that the later overtakes it where nobody minds.
            pause.wait(0.004 if int(message.raw_data[1:]) % 6 < 3 else 0.0)
            finished.append(message.raw_data)
            ctx.ack()

        finished: list[bytes] = []
        ordering: Callable[[Message], Hashable] = key
        recorder = lab.record(dawdle)
        with lab.running(recorder, workers=4, max_in_flight=16, ordering_key=ordering):
            for number in range(120):
                lab.publish(b"%c%d" % (b"abc"[number % 3], number))
            recorder.wait_seen(120)
            lab.expect_settled()
        for letter in (b"a", b"b", b"c"):
            numbers = [int(body[1:]) for body in finished if body.startswith(letter)]
            expect(numbers == sorted(numbers), f"messages of the key {letter!r} overtook another")

    @check("A26", needs=("competing_consumers",), read="adapters#competing-consumers")
    def test_a26_competing_consumers_share(self, lab: AdapterLab) -> None:
        """Two adapters on one source share its messages: each message goes to one of them."""
        first, second = lab.record(), lab.record()
        with lab.running(first), lab.running(second):
            publications = [lab.publish(b"shared %d" % number) for number in range(60)]
            wait_until(
                lambda: len(first.seen) + len(second.seen) >= 60,
                lab.patience,
                "not all of 60 messages came to one of two consumers",
            )
            lab.expect_settled(*publications)
        counts = Counter(first.bodies + second.bodies)
        twice = [body for body, times in counts.items() if times > 1]
        expect(not twice, f"{len(twice)} of 60 messages were handled by both or twice")

    @check("A27", needs=("harness.fan_out",), read="adapters#fan-out")
    def test_a27_fan_out_reaches_everyone(self, lab: AdapterLab) -> None:
        """Each of several adapters gets every message."""
        recorders: list[Any] = [lab.record(), lab.record()]
        with lab.running(recorders[0]), lab.running(recorders[1]):
            for number in range(10):
                lab.publish(b"to all %d" % number)
            for recorder in recorders:
                recorder.wait_seen(10)
        for recorder in recorders:
            expect(len(set(recorder.bodies)) == 10, "an adapter missed some of 10 messages")

    @check("A28", read="adapters#two-adapters")
    def test_a28_two_adapters_run_one_processor(self, lab: AdapterLab) -> None:
        """Two adapters may run one processor at once; each settles its own messages, and
        neither is in the other's way.
        """
        other = lab.another_harness()
        recorder = lab.record(dlq=lab.letters())
        elsewhere = other.make_adapter(recorder.processor)
        with lab.running(recorder) as running, lab.running(recorder, adapter=elsewhere):
            publications = [lab.publish(b"here %d" % number) for number in range(10)]
            away = [lab.publish(b"there %d" % number, harness=other) for number in range(10)]
            recorder.wait_seen(20)
            lab.expect_settled(*publications, *away)
            wait_until(
                lambda: other.remaining() == 0,
                lab.patience,
                "the second adapter left messages on its transport",
            )
            for adapter in (running.adapter, elsewhere):
                if isinstance(adapter, PollingAdapter):
                    lost = adapter.status().reconnections
                    expect(not lost, f"a connection was lost {lost} time(s) beside the other")
        expect(len(set(recorder.bodies)) == 20, "not every message reached a handler")

    @check("A29", needs=("persistent",), read="adapters#persistence")
    def test_a29_what_was_published_before_is_delivered(self, lab: AdapterLab) -> None:
        """Messages that were published while nobody listened are delivered when somebody does."""
        for number in range(5):
            lab.publish(b"early %d" % number)
        recorder = lab.record()
        with lab.running(recorder):
            recorder.wait_seen(5)
            lab.expect_settled()
        expect(len(set(recorder.bodies)) == 5, "not every message reached a handler")
