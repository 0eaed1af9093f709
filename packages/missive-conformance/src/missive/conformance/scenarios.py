"""Scenarios: the programs that child processes run."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from missive import (
    DeadLetter,
    DeadLetterStoreError,
    HandlingContext,
    Message,
    ProcessingContext,
    Processor,
    RawMessage,
)

from .harness import AdapterHarness, DLQHarness, Harness
from .ledger import Ledger, number_of, numbered_body
from .styles import PLAIN, register

#: The status of a process that its poison message ended.
POISONED = 86


def hold() -> NoReturn:
    """Stay here until the process is killed."""
    while True:
        threading.Event().wait(3600)


class LedgerLetters(MutableMapping[bytes, tuple[Message, str]]):
    """A DLQ that is a ledger: each letter is on the disk when it is written.

    :param hold_at: the number of the message after whose letter the process stands still.
    """

    def __init__(self, ledger: Ledger, hold_at: int | None) -> None:
        self._ledger = ledger
        self._hold_at = hold_at
        self._letters: dict[bytes, tuple[Message, str]] = {}

    def __setitem__(self, key: bytes, letter: tuple[Message, str]) -> None:
        self._letters[key] = letter
        body = letter[0].raw_data
        self._ledger.note("dead-lettered", body, id=key.hex())
        if self._hold_at is not None and number_of(body) == self._hold_at:
            self._ledger.mark({"event": "held"})
            hold()

    def __getitem__(self, key: bytes) -> tuple[Message, str]:
        return self._letters[key]

    def __delitem__(self, key: bytes) -> None:
        del self._letters[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._letters)

    def __len__(self) -> int:
        return len(self._letters)


def work(
    harness: AdapterHarness,
    ledger: Ledger,
    *,
    hold_at: str | None = None,
    hold_number: int | None = None,
    fail: tuple[int, ...] = (),
    poison: int | None = None,
    linger: float = 0.0,
    style: str = PLAIN,
    options: dict[str, Any] | None = None,
) -> None:
    """Ack every message, and note what happens to it, until a signal comes.

    :param hold_at: ``"before"``, ``"in"`` or ``"after"`` the handler, or at the ``"letter"``: where
        the process is to stand still with message ``hold_number``, so that it can be killed there.
    :param fail: the numbers of the messages that the handler fails with.
    :param poison: the number of the message at which the process exits in the handler.
    :param linger: how long the handler takes after it has noted the start, in seconds.
    :param style: how the handler is written; see :mod:`missive.conformance.styles`.
    :param options: keyword arguments of the adapter.
    """
    processor: Processor[Any] = Processor()
    processor.set_dlq(LedgerLetters(ledger, hold_number if hold_at == "letter" else None))

    def stand_still(place: str, message: Message) -> None:
        if hold_at == place and number_of(message.raw_data) == hold_number:
            ledger.mark({"event": "held"})
            hold()

    @processor.before_handling
    def before(processing_ctx: ProcessingContext[Any], ctx: HandlingContext[Any]) -> None:
        stand_still("before", ctx.message)

    @processor.after_handling
    def after(processing_ctx: ProcessingContext[Any], ctx: HandlingContext[Any]) -> None:
        stand_still("after", ctx.message)

    def handle(message: Message, ctx: HandlingContext[Any]) -> None:
        ledger.note(
            "started",
            message.raw_data,
            id=message.message_id.hex(),
            delivery_count=message.delivery_count,
        )
        number = number_of(message.raw_data)
        stand_still("in", message)
        if number == poison:
            os._exit(POISONED)
        if linger:
            threading.Event().wait(linger)
        if number in fail:
            raise ValueError("the scenario has this message fail")
        ledger.note("decided", message.raw_data)
        ctx.ack()

    register(processor, lambda message: True, handle, style)

    @processor.on_settled
    def settled(processing_ctx: ProcessingContext[Any], settled: HandlingContext[Any]) -> None:
        # A letter is noted when it is written, so here only what carries no letter.
        if settled.outcome is not None and settled.outcome.value != "dead-lettered":
            ledger.note(settled.outcome.value, settled.message.raw_data)

    adapter: Any = harness.make_adapter(processor, RawMessage, **(options or {}))

    def say_ready() -> None:
        adapter.ready.wait()
        ledger.mark({"event": "ready"})

    threading.Thread(target=say_ready, daemon=True).start()
    adapter.run()
    ledger.mark({"event": "returned"})


def fork_work(
    harness: AdapterHarness, ledger: Ledger, *, children: int, style: str = PLAIN
) -> None:
    """Run one adapter, built here, in several forked children; ack and note every message.

    SIGUSR1 stops the first of them, SIGTERM all.
    """
    books = [ledger]
    processor: Processor[Any] = Processor()

    def handle(message: Message, ctx: HandlingContext[Any]) -> None:
        books[-1].note("started", message.raw_data, id=message.message_id.hex())
        ctx.ack()

    register(processor, lambda message: True, handle, style)

    @processor.on_settled
    def settled(processing_ctx: ProcessingContext[Any], settled: HandlingContext[Any]) -> None:
        if settled.outcome is not None:
            books[-1].note(settled.outcome.value, settled.message.raw_data)

    adapter: Any = harness.make_adapter(processor, RawMessage)
    pids: list[int] = []  # of the children that run
    reading, writing = os.pipe()  # ends when this process does
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            _end_with_parent(reading)
            _run_in_child(adapter, ledger, books)
        pids.append(pid)

    def tell(signum: int, frame: object) -> None:
        for pid in pids[:1] if signum == signal.SIGUSR1 else pids:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGTERM, tell)
    statuses: list[int] = []
    while pids:
        statuses.append(os.waitpid(pids[0], 0)[1])
        del pids[0]
    if any(statuses):
        raise SystemExit(f"the children ended with {statuses}")


def _end_with_parent(pipe: int) -> None:
    def watch() -> None:
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_in_child(adapter: Any, parents: Ledger, books: list[Ledger]) -> NoReturn:
    own = Ledger(parents.path.with_name(f"{os.getpid()}.ledger"))
    books.append(own)

    def say_ready() -> None:
        adapter.ready.wait()
        own.mark({"event": "ready"})

    try:
        threading.Thread(target=say_ready, daemon=True).start()
        adapter.run()
        own.mark({"event": "returned"})
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def write_letters(
    harness: DLQHarness,
    ledger: Ledger,
    *,
    first: int,
    count: int,
    size: int = 64,
    hold_after: int | None = None,
) -> None:
    """Write letters one by one, and note each that the DLQ has confirmed.

    :param first: the number of the first.
    :param hold_after: stand still when so many were written, to be killed.
    """
    dlq: Any = harness.open()
    for number in range(first, first + count):
        message = RawMessage(numbered_body(number, size))
        ledger.mark({"event": "writing"})
        dlq[b"letter-%d" % number] = (message, "written by a scenario")
        ledger.note("confirmed", message.raw_data)
        if hold_after is not None and number - first + 1 >= hold_after:
            ledger.mark({"event": "held"})
            hold()
    if hasattr(dlq, "close"):
        dlq.close()


def handle_due(
    harness: DLQHarness,
    ledger: Ledger,
    *,
    limit: int,
    lease: float,
    hold_after: int | None = None,
) -> None:
    """Claim deferred messages, and note and remove each, until none is left.

    :param limit: how many to claim at once.
    :param lease: in seconds.
    :param hold_after: stand still when so many were removed, to be killed.
    """
    store: Any = harness.open()
    removed = 0
    while store.counts().deferred:
        found = store.claim_due(limit, lease)
        for _, letter in found:
            ledger.note("given", letter.raw_data)
        for claim, letter in found:
            if store.remove(claim):
                ledger.note("removed", letter.raw_data)
                removed += 1
            if removed == hold_after:
                ledger.mark({"event": "held"})
                hold()
        if not found:
            threading.Event().wait(0.02)
    store.close()


def receive_and_handle(
    harness: DLQHarness, ledger: Ledger, *, first: int, count: int, hold_after: int
) -> None:
    """Receive messages as an inbox does; remove every other one, as handled.

    :param first: the number of the first.
    :param hold_after: stand still when so many were received, to be killed.
    """
    store: Any = harness.open()
    for number in range(first, first + count):
        key, now = b"letter-%d" % number, datetime.now(timezone.utc)
        letter = DeadLetter(
            key, numbered_body(number, 64), "received", "handling", now, now, key, source="a-source"
        )
        store.receive([letter._replace(state="deferred", due=now, attempt=0, failures=0)])
        ledger.note("confirmed", letter.raw_data)
        if number % 2:
            found = store.claim(key)
            if found is not None and store.remove(found[0]):
                ledger.note("removed", letter.raw_data)
        if number - first + 1 >= hold_after:
            ledger.mark({"event": "held"})
            hold()


def fill_disk(harness: DLQHarness, ledger: Ledger, *, limit: int, size: int) -> None:
    """Write letters until the disk is full, as the harness plays it.

    :param limit: how much room there is, in bytes.
    :param size: the size of a body.
    """
    dlq: Any = harness.open()
    harness.limit_disk(limit)
    for number in range(limit // size + 100):
        message = RawMessage(numbered_body(number, size))
        try:
            dlq[b"letter-%d" % number] = (message, "written by a scenario")
        except DeadLetterStoreError:
            ledger.mark({"event": "full"})
            break
        except Exception as error:
            ledger.mark({"event": "wrong-error", "type": type(error).__name__})
            break
        ledger.note("confirmed", message.raw_data)
    else:
        ledger.mark({"event": "never-full"})
        return
    # What was kept before must still be there to be read, by this very process.
    ledger.mark({"event": "readable", "count": len(dlq)})


def write_read_only(harness: DLQHarness, ledger: Ledger) -> None:
    """Try to write to a store that this process has no right to write to."""
    drop_privileges()
    dlq: Any = None
    try:
        dlq = harness.open()
        ledger.mark({"event": "opened"})
        letter = DeadLetter.from_failure(
            RawMessage(b"read-only"), stage="handling", reason="written by a scenario"
        )
        dlq[letter.id] = (RawMessage(b"read-only"), letter.reason)
    except DeadLetterStoreError:
        ledger.mark({"event": "refused-write"})
    except Exception as error:
        ledger.mark({"event": "wrong-error", "type": type(error).__name__})
    else:
        ledger.mark({"event": "written"})


def drop_privileges() -> None:
    """Have permissions bind this process even where it is root's, as Linux alone allows."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    # capset(2), version 3: three sets of capabilities in two words each, and all of them empty.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of root could not be dropped")


SCENARIOS = {
    function.__name__: function
    for function in (
        work,
        fork_work,
        write_letters,
        handle_due,
        receive_and_handle,
        fill_disk,
        write_read_only,
    )
}


def load_harness(module_name: str, file: str | None, qualname: str) -> type[Harness]:
    """Find a harness by the name of its module, or by its file where that is no importable name."""
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        if file is None:
            raise
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    found: Any = module
    for name in qualname.split("."):
        found = getattr(found, name)
    harness_cls: type[Harness] = found
    return harness_cls


def main(order_text: str) -> None:
    """Play the scenario that the parent asked for.

    :param order_text: the order, in JSON; see :class:`missive.conformance.children.Child`.
    """
    order = json.loads(order_text)
    harness_cls = load_harness(order["module"], order["file"], order["harness"])
    harness = harness_cls(Path(order["folder"]), order["address"])
    ledger = Ledger(Path(order["own_folder"]) / f"{os.getpid()}.ledger")
    ledger.mark({"event": "alive"})
    play: Any = SCENARIOS[order["scenario"]]
    play(harness, ledger, **order["settings"])
    ledger.close()
