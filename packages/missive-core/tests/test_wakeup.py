"""The wake-up call."""

from __future__ import annotations

from missive.polling import Wakeup

DEADLINE = 30.0


def test_it_may_be_rung_more_often_than_it_holds_and_after_its_end() -> None:
    """Ringing never blocks or raises, since a signal handler or any thread may do it."""
    wakeup = Wakeup()
    pending = 0
    for _ in range(1_000_000):
        try:
            wakeup._sender.send(b"!")
        except BlockingIOError:
            break
        pending += 1
    assert 0 < pending < 1_000_000
    wakeup.ring()
    assert wakeup.wait(DEADLINE) is False  # at once, and there was no file to be readable
    wakeup.close()
    wakeup.ring()
