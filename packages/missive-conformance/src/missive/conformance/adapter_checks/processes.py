"""Whole processes: signals, kills, and a message that takes its worker down."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from time import monotonic
from typing import Any

from ..children import Child
from ..contract import ContractBroken, check, expect
from ..lab import AdapterLab, Publication, glances
from ..ledger import Account, Ledger, balance, numbered_body, read_ledgers
from ..scenarios import POISONED

PROCESS = ("harness.reaches_processes",)
SAFE = (*PROCESS, "delivery=at-least-once", "crash_redelivery")


class Books:
    """The ledgers of one check: the publisher's, and those of the processes that it starts."""

    def __init__(self, lab: AdapterLab, title: str, check_id: str) -> None:
        self.lab = lab
        self.title = f"{check_id} {title}"
        self.check_id = check_id
        self.ledger = Ledger(lab.folder / "publisher" / "publisher.ledger")
        lab.at_end.callback(self.ledger.close)

    def publish(self, *numbers: int) -> None:
        """Publish numbered messages, and note each that the broker confirmed."""
        for number in numbers:
            body = numbered_body(number)
            if self.lab.publish(body).accepted(self.lab.patience):
                self.ledger.note("confirmed", body)

    def balance(self, *children: Child, drained: bool = True) -> Account:
        """Close the books: say what became of each message, and keep that as an artefact."""
        lines = read_ledgers(self.lab.folder / "publisher")
        for child in children:
            lines += child.lines
        account = balance(
            self.title, lines, remaining=self.lab.harness.remaining(), drained=drained
        )
        self.lab.account(account, self.check_id)
        return account


def recover(lab: AdapterLab, books: Books, *former: Child) -> tuple[Account, list[Child]]:
    """Let healthy workers take what is left, stop them, and close the books.

    One that goes on until it is stopped is enough. Where runs end by themselves, one starts after
    the other, as somebody would see to it: what was in flight at the kill may be due only later.
    """
    healthy = [lab.child("work")]
    if lab.harness.run_ends:
        deadline = monotonic() + lab.patience
        while healthy[-1].wait() == 0 and lab.harness.remaining() and monotonic() < deadline:
            healthy.append(lab.child("work"))
    else:
        healthy[0].wait_noted("ready")
    lab.wait_remaining(0, "after a healthy worker had taken over")
    if not lab.harness.run_ends:
        healthy[0].interrupt(signal.SIGTERM)
    status = healthy[-1].wait()
    account = books.balance(*former, *healthy)
    expect(status == 0, f"the healthy worker ended with status {status}: {healthy[-1].tail()}")
    return account, healthy


def has_noted(child: Child, event: str) -> bool:
    """Return whether a process has noted something."""
    return any(line["event"] == event for line in child.lines)


def lines_of(children: Iterable[Child], event: str, number: int) -> list[dict[str, Any]]:
    """Return what processes noted of one event of one message, in the order they were started."""
    return [
        line
        for child in children
        for line in child.lines
        if line["event"] == event and line["number"] == number
    ]


def kill_at(
    lab: AdapterLab, place: str, check_id: str, *, fail: bool = False
) -> tuple[Child, list[Child]]:
    """Kill a worker that holds message 3 of 8 at one place, and account for all of them.

    :returns: the victim, and the workers that took over.
    """
    books = Books(lab, f"killed at: {place}", check_id)
    books.publish(*range(8))
    victim = lab.child("work", hold_at=place, hold_number=3, fail=[3] if fail else [])
    victim.wait_noted("held")
    victim.kill()
    account, healthy = recover(lab, books, victim)
    expect(account.at_fault is None, str(account.at_fault))
    return victim, healthy


class Processes:
    """What holds for a worker as a process."""

    @check("A87", needs=PROCESS, read="adapters#signals")
    def test_a87_sigterm_ends_it_cleanly(self, lab: AdapterLab) -> None:
        """SIGTERM lets the message in flight be settled, and ends the process with status 0."""
        self._signal(lab, signal.SIGTERM)

    @check("A88", needs=PROCESS, read="adapters#signals")
    def test_a88_sigint_ends_it_cleanly(self, lab: AdapterLab) -> None:
        """SIGINT lets the message in flight be settled, and ends the process with status 0."""
        self._signal(lab, signal.SIGINT)

    def _signal(self, lab: AdapterLab, signum: signal.Signals) -> None:
        if lab.capabilities.persistent or lab.harness.run_ends:
            lab.publish(numbered_body(1))
            child = lab.child("work", linger=0.2)
        else:
            child = lab.child("work", linger=0.2)
            child.wait_noted("ready")
            lab.publish(numbered_body(1))
        child.wait_noted("started")
        child.interrupt(signum)
        status = child.wait()
        expect(status == 0, f"the process ended with status {status}: {child.tail()}")
        child.wait_noted("acked")
        child.wait_noted("returned")
        lab.expect_settled()

    @check("A90", profile="faults", needs=SAFE, read="adapters#crashes")
    def test_a90_killed_before_the_handler(self, lab: AdapterLab) -> None:
        """A worker killed with a message that no handler has seen loses nothing: it is redelivered."""
        _, healthy = kill_at(lab, "before", "A90")
        self._expect_again(healthy)

    @check("A91", profile="faults", needs=SAFE, read="adapters#crashes")
    def test_a91_killed_in_the_handler(self, lab: AdapterLab) -> None:
        """A worker killed in a handler loses nothing: the message is redelivered."""
        _, healthy = kill_at(lab, "in", "A91")
        self._expect_again(healthy)

    @check("A92", profile="faults", needs=SAFE, read="adapters#crashes")
    def test_a92_killed_after_the_handler(self, lab: AdapterLab) -> None:
        """A worker killed after the handler and before the ack loses nothing: it is redelivered."""
        _, healthy = kill_at(lab, "after", "A92")
        self._expect_again(healthy)

    @check("A93", profile="faults", needs=(*SAFE, "no harness.own_dlq"), read="adapters#crashes")
    def test_a93_killed_between_letter_and_ack(self, lab: AdapterLab) -> None:
        """A worker killed between the letter and the ack loses nothing; the id is the
        same again.
        """
        victim, healthy = kill_at(lab, "letter", "A93", fail=True)
        self._expect_again(healthy)
        if not lab.capabilities.stable_id:
            return
        (letter,) = lines_of([victim], "dead-lettered", 3)
        again = lines_of(healthy, "started", 3)
        expect(again[0]["id"] == letter["id"], "it came again with another id than its letter has")

    def _expect_again(self, healthy: list[Child]) -> None:
        again = lines_of(healthy, "started", 3)
        expect(bool(again), "the message in flight at the kill was not redelivered")

    @check("A94", profile="faults", needs=SAFE, read="adapters#poison")
    def test_a94_a_poison_message_is_counted(self, lab: AdapterLab) -> None:
        """A message that ends its process is redelivered, counted where counts are kept; none is
        lost.
        """
        books = Books(lab, "a poison message", "A94")
        books.publish(*range(6))
        victims: list[Child] = []
        deadline = monotonic() + lab.patience
        for _ in range(2):
            victims.append(lab.child("work", poison=2))
            while (status := victims[-1].wait()) == 0 and monotonic() < deadline:
                expect(lab.harness.run_ends, "the worker ended, and nobody had stopped it")
                victims.append(lab.child("work", poison=2))  # it was not due yet
            expect(
                status == POISONED, f"the worker ended with status {status}: {victims[-1].tail()}"
            )
        account, healthy = recover(lab, books, *victims)
        expect(account.at_fault is None, str(account.at_fault))
        if lab.capabilities.delivery_count:
            started = lines_of((*victims, *healthy), "started", 2)
            counts = [line["delivery_count"] for line in started]
            expect(counts == [1, 2, 3], f"its counts in three deliveries were {counts}")

    @check(
        "A95", profile="faults", needs=(*PROCESS, "delivery=at-most-once"), read="adapters#crashes"
    )
    def test_a95_losses_stay_inside_the_window(self, lab: AdapterLab) -> None:
        """Where a kill may lose messages, only those delivered to the killed worker can be lost."""
        books = Books(lab, "killed; losses only in the window", "A95")
        victim = lab.child("work", hold_at="in", hold_number=1)
        victim.wait_noted("ready")
        books.publish(0, 1)
        victim.wait_noted("held")
        victim.kill()
        healthy = lab.child("work")
        healthy.wait_noted("ready")
        books.publish(*range(10, 20))
        healthy.wait_noted("acked", 10)
        healthy.interrupt(signal.SIGTERM)
        healthy.wait()
        account = books.balance(victim, healthy)
        outside = [number for number in account.lost if number != 1]
        expect(not outside, f"{len(outside)} messages were lost outside the window of the kill")
        expect(not account.corrupted, f"{len(account.corrupted)} messages were corrupted")

    @check(
        "A96",
        profile="faults",
        needs=(*SAFE, "competing_consumers", "no harness.run_ends"),
        read="adapters#competing-consumers",
    )
    def test_a96_kills_among_competing_workers(self, lab: AdapterLab) -> None:
        """Of three competing workers, two killed at work lose nothing: the third does it all."""
        books = Books(lab, "two of three workers killed", "A96")
        workers = [lab.child("work", linger=0.005) for _ in range(3)]
        for worker in workers:
            worker.wait_noted("ready")
        for worker in self._two_at_work(lab, books, workers):
            worker.kill()
        account, _ = recover(lab, books, *workers)
        expect(account.at_fault is None, str(account.at_fault))

    def _two_at_work(self, lab: AdapterLab, books: Books, workers: list[Child]) -> list[Child]:
        """Publish until two of the workers have begun, however many messages each takes at once."""
        deadline = monotonic() + lab.patience
        published = 0
        busy: list[Child] = []
        while len(busy) < 2:
            books.publish(*range(published, published + 60))
            published += 60
            for _ in glances():
                busy = [worker for worker in workers if has_noted(worker, "started")]
                if len(busy) >= 2:
                    break
            expect(
                len(busy) >= 2 or monotonic() < deadline,
                f"{len(busy)} of 3 workers got a message, of {published} that were published",
            )
        return busy[:2]

    @check(
        "A97", profile="faults", needs=(*PROCESS, "delivery=request-reply"), read="adapters#crashes"
    )
    def test_a97_success_is_told_of_what_is_settled_alone(self, lab: AdapterLab) -> None:
        """When a worker is killed, senders were told of success only for what is settled."""
        books = Books(lab, "killed; senders wait for answers", "A97")
        victim = lab.child("work", hold_at="in", hold_number=3)
        victim.wait_noted("ready")
        books.publish(0, 1, 2)
        publications = {number: lab.publish(numbered_body(number)) for number in range(3, 6)}
        victim.wait_noted("held")
        victim.kill()
        for number, publication in publications.items():
            if self._was_told_of_success(lab, publication):
                books.ledger.note("confirmed", numbered_body(number))
        account = books.balance(victim)
        expect(account.at_fault is None, f"{account.at_fault}, though senders heard of success")

    @check(
        "A98",
        profile="stress",
        needs=(*SAFE, "no harness.run_ends"),
        read="adapters#crashes",
    )
    def test_a98_many_kills_under_load_lose_nothing(self, lab: AdapterLab) -> None:
        """Workers that are killed one after the other, in the midst of their work, lose nothing."""
        books = Books(lab, "ten workers killed under load", "A98")
        books.publish(*range(400))
        victims: list[Child] = []
        for number in range(10):
            victim = lab.child("work", linger=0.001)
            victims.append(victim)
            victim.wait_noted("acked", 3 + 3 * number)
            victim.kill()
        account, _ = recover(lab, books, *victims)
        expect(account.at_fault is None, str(account.at_fault))

    def _was_told_of_success(self, lab: AdapterLab, publication: Publication) -> bool:
        try:
            return publication.accepted(lab.patience)
        except ContractBroken:
            raise
        except Exception:  # the connection broke, in whatever way clients call it
            return False
