"""What every DLQ does, a plain dict included: the mapping from id to (message, reason)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from missive import HandlingContext, Message, Processor, RawMessage

from ..contract import check, expect
from ..dlq_lab import DLQLab, expect_entry, message

READ = "dead-letters#the-mapping"

#: Keys that a careless store would take for something else.
HOSTILE_KEYS = (
    b"\0",
    b"'",
    b'"; DROP TABLE letters; --',
    b"../../etc/passwd",
    b"%s%n",
    b"\xff\xfe\x00\x01",
    bytes(range(256)),
    b"0x41",
    b"A",
    b"a",
    b"k" * 4096,
)
#: Bodies that a careless store would change, cut or run.
BODIES = (
    b"",
    b"\0",
    b"\r\n",
    bytes(range(256)),
    b"cos\nsystem\n(S'exit 1'\ntR.",
    b"x" * 4097,
    b"\xf0\x9f\x90",
    b"y" * 1_000_000,
)
#: Reasons in all their shapes.
REASONS = (
    "",
    " ",
    "no matching handlers",
    "zwei\nZeilen",
    "\0",
    "\U0001f40c",
    "\udcff",
    "r" * 100_000,
)


class MappingChecks:
    """The mapping."""

    @check("D01", read=READ)
    def test_d01_what_is_set_can_be_read(self, lab: DLQLab) -> None:
        """What was set under a key is read back: the message's bytes, and the reason."""
        dlq = lab.open()
        dlq[b"first"] = (message(b"first", b"one"), "because of this")
        dlq[b"second"] = (message(b"second", b"two"), "because of that")
        expect_entry(dlq, b"first", b"one", "because of this")
        expect_entry(dlq, b"second", b"two", "because of that")
        expect(len(dlq) == 2, f"two were set, and the length is {len(dlq)}")
        found = dlq[b"first"][0]
        expect(isinstance(found, Message), f"it gives a {type(found).__name__}, no message")
        expect(found.message_id == b"first", "the message has another id")

    @check("D02", read=READ)
    def test_d02_what_is_missing_is_a_key_error(self, lab: DLQLab) -> None:
        """A key that is not there raises KeyError when it is read or deleted, and is not in it."""
        dlq = lab.open()
        dlq[b"there"] = (message(b"there"), "a reason")
        operations: dict[str, Callable[[bytes], object]] = {
            "read": dlq.__getitem__,
            "deleted": dlq.__delitem__,
        }
        for name, operation in operations.items():
            try:
                operation(b"missing")
            except KeyError:
                continue
            expect(False, f"a missing key was {name} without a KeyError")
        expect(b"missing" not in dlq, "a key that was never set is in it")
        expect(dlq.get(b"missing") is None, "get() gives something for a missing key")

    @check("D03", read=READ)
    def test_d03_what_is_deleted_is_gone(self, lab: DLQLab) -> None:
        """A deleted key is gone, and only that one."""
        dlq = lab.open()
        for key in (b"a", b"b", b"c"):
            dlq[key] = (message(key, key), "a reason")
        del dlq[b"b"]
        expect(list(dlq) == [b"a", b"c"], f"of three keys, one deleted, {len(list(dlq))} remain")
        popped, _ = dlq.pop(b"a")
        expect(popped.raw_data == b"a", "pop() gave another message")
        dlq.clear()
        expect(len(dlq) == 0 and not list(dlq), "clear() left something")

    @check("D04", read=READ)
    def test_d04_setting_again_keeps_one(self, lab: DLQLab) -> None:
        """Setting a key again leaves one entry, which is the newer."""
        dlq = lab.open()
        dlq[b"key"] = (message(b"key", b"body"), "the first time")
        dlq[b"key"] = (message(b"key", b"body"), "the second time")
        expect(len(dlq) == 1, f"there are {len(dlq)} entries")
        expect_entry(dlq, b"key", b"body", "the second time")

    @check("D05", read=READ)
    def test_d05_any_bytes_are_a_key(self, lab: DLQLab) -> None:
        """Any bytes serve as a key, told apart byte for byte: NUL, quotes, paths, invalid UTF-8."""
        dlq = lab.open()
        for number, key in enumerate(HOSTILE_KEYS):
            dlq[key] = (message(key, b"%d" % number), "a reason")
        expect(
            list(dlq) == list(HOSTILE_KEYS),
            f"{len(HOSTILE_KEYS)} keys were set, and {len(set(dlq) & set(HOSTILE_KEYS))} of them"
            " came back, or in another order",
        )
        for number, key in enumerate(HOSTILE_KEYS):
            expect_entry(dlq, key, b"%d" % number, "a reason")

    @check("D06", read=READ)
    def test_d06_any_bytes_are_a_body(self, lab: DLQLab) -> None:
        """Any body comes back as it is: empty, a megabyte, all byte values, a hostile pickle."""
        dlq = lab.open()
        for number, body in enumerate(BODIES):
            key = b"body-%d" % number
            dlq[key] = (message(key, body), "a reason")
            expect_entry(dlq, key, body, "a reason")

    @check("D07", read=READ)
    def test_d07_any_text_is_a_reason(self, lab: DLQLab) -> None:
        """Any text comes back as the reason: empty, with line ends and NUL, very long."""
        dlq = lab.open()
        for number, reason in enumerate(REASONS):
            key = b"reason-%d" % number
            dlq[key] = (message(key), reason)
            expect_entry(dlq, key, b"a body", reason)

    @check("D08", read=READ)
    def test_d08_the_envelope_is_kept(self, lab: DLQLab) -> None:
        """A message comes back with the id, the source and the headers of its envelope."""
        dlq = lab.open()
        headers = {"Colour": "blue", "X-Bytes": "\udcff\udc80", "Empty": ""}
        dlq[b"id"] = (message(b"id", headers=headers, source="orders"), "a reason")
        found, _ = dlq[b"id"]
        expect(found.message_id == b"id", "the id is another")
        expect(found.source == "orders", "the source is another")
        expect(dict(found.headers) == headers, f"the headers are {', '.join(found.headers)}")

    @check("D09", read=READ)
    def test_d09_the_oldest_comes_first(self, lab: DLQLab) -> None:
        """Iteration gives the keys in the order in which they came, the oldest first."""
        dlq = lab.open()
        keys = [b"%d" % (number * 37 % 101) for number in range(101)]
        for key in keys:
            dlq[key] = (message(key), "a reason")
        expect(list(dlq) == keys, "the keys came in another order")
        expect([found.message_id for found, _ in dlq.values()] == keys, "values() differs")
        expect([key for key, _ in dlq.items()] == keys, "items() differs")

    @check("D10", read="dead-letters#concurrency")
    def test_d10_threads_may_write_at_once(self, lab: DLQLab) -> None:
        """Several threads may write at once: no letter is lost, and no call fails."""
        dlq = lab.open()
        errors: list[BaseException] = []
        start = threading.Barrier(8)

        def write(thread: int) -> None:
            try:
                start.wait(lab.patience)
                for number in range(25):
                    key = b"%d-%d" % (thread, number)
                    dlq[key] = (message(key, key), "a reason")
            except BaseException as error:  # looked at below, in the check's thread
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.patience)
        expect(not any(thread.is_alive() for thread in threads), "a thread is still writing")
        expect(not errors, f"{len(errors)} threads failed, one by {_type_of(errors)}")
        expect(len(dlq) == 200, f"200 letters were written and {len(dlq)} are there")
        for thread_number in range(8):
            key = b"%d-%d" % (thread_number, 24)
            expect_entry(dlq, key, key, "a reason")

    @check("D11", read="dead-letters#writing")
    def test_d11_it_serves_a_processor(self, lab: DLQLab) -> None:
        """Behind a processor it keeps what failed, whichever way, with its bytes and the reason."""

        def fail(message: Any, ctx: HandlingContext[Any]) -> None:
            raise LookupError("the handler's own words")

        def forget(message: Any, ctx: HandlingContext[Any]) -> None:
            return

        cases: dict[str, Callable[[Any, HandlingContext[Any]], None] | None] = {
            "the handler's own words": fail,
            "handler did not settle the message": forget,
            "no matching handlers": None,
        }
        dlq = lab.open()
        for number, (reason, handler) in enumerate(cases.items()):
            processor: Processor[Any] = Processor()
            processor.set_dlq(dlq)
            if handler is not None:
                processor.handle_for(lambda message: True)(handler)
            with processor.test_client(RawMessage) as client:
                client.send(b"body %d" % number, message_id=b"id %d" % number, source="s")
                expect(len(client.dead_lettered) == 1, "the processor could not write its letter")
            expect_entry(dlq, b"id %d" % number, b"body %d" % number, reason)
        expect(len(dlq) == 3, f"3 letters were written and {len(dlq)} are there")

    @check("D12", read="dead-letters#writing")
    def test_d12_the_class_of_a_message_may_be_gone(self, lab: DLQLab) -> None:
        """A message whose class is local, or fails, or is gone can still be written and read."""

        class Local(Message):
            """A class that nobody can import."""

        dlq = lab.open()
        made = Local(b"of a class that nobody can import")
        made.put_in(message(b"id").envelope)
        dlq[b"id"] = (made, "a reason")
        expect_entry(dlq, b"id", b"of a class that nobody can import", "a reason")

    @check("D13", read="security#payloads")
    def test_d13_no_payload_in_reprs(self, lab: DLQLab) -> None:
        """Neither its repr nor its str holds the content of a message."""
        dlq = lab.open()
        dlq[b"id"] = (message(b"id", b"PAYLOAD-7c1d"), "a reason")
        for text in (repr(dlq), str(dlq), repr(dlq[b"id"]), repr(list(dlq.items()))):
            expect("PAYLOAD" not in text, "a repr or str holds the content of a message")

    @check("D14", read=READ)
    def test_d14_it_behaves_like_a_dict(self, lab: DLQLab) -> None:
        """Whatever is done to it, in whatever order, it holds what a dict would."""
        self._compare_with_a_dict(lab, examples=15, steps=15)

    @check("D15", profile="stress", read=READ)
    def test_d15_it_behaves_like_a_dict_for_long(self, lab: DLQLab) -> None:
        """In hundreds of long histories it holds what a dict would."""
        self._compare_with_a_dict(lab, examples=200, steps=60)

    def _compare_with_a_dict(self, lab: DLQLab, *, examples: int, steps: int) -> None:
        from hypothesis import HealthCheck, Phase, settings
        from hypothesis.stateful import run_state_machine_as_test

        from .model import machine_for

        run_state_machine_as_test(
            machine_for(lab),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                derandomize=True,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
            ),
        )


def _type_of(errors: list[BaseException]) -> str:
    return type(errors[0]).__name__ if errors else "nothing"
