"""The shutdown handler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import missive
import pytest


def test_a_signal_sets_the_flag_and_the_former_handlers_come_back() -> None:
    """enable takes the signals over, disable gives them back."""
    former = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    heard: list[int] = []
    handler = missive.ShutdownHandler(heard.append)
    handler.enable()
    handler.enable()
    try:
        assert not handler.should_exit()
        os.kill(os.getpid(), signal.SIGTERM)
        handler.wait_for_flag()
        handler.wait_for_flag()  # does not block once the flag is set
        assert handler.should_exit()
        assert heard == [signal.SIGTERM]
    finally:
        handler.disable()
    assert former == {s: signal.getsignal(s) for s in former}
    handler.clear_flag()
    assert not handler.should_exit()


def test_waiters_in_several_threads_are_all_released() -> None:
    """wait_for_flag blocks until set_flag, in any thread."""
    handler = missive.ShutdownHandler()
    threads = [threading.Thread(target=handler.wait_for_flag, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert all(thread.is_alive() for thread in threads)
    handler.set_flag()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    """Only the main thread may set signal handlers."""
    former = signal.getsignal(signal.SIGTERM)
    handler = missive.ShutdownHandler()
    thread = threading.Thread(target=handler.enable)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is former
    handler.disable()


PROGRAM = """
import os, signal, missive
handler = missive.ShutdownHandler()
handler.enable()
os.kill(os.getpid(), signal.SIGTERM)
print("still here", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("never printed", flush=True)
"""


def test_a_second_signal_ends_the_process() -> None:
    """Whoever insists is obeyed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout == "still here\n"
    assert done.returncode == -signal.SIGTERM


def test_a_second_signal_ends_process_1_of_a_container() -> None:
    """Process 1, which a signal's default action leaves alone, ends with the signal's status too."""
    isolated = ["unshare", "--user", "--pid", "--fork"]
    try:
        subprocess.run([*isolated, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no process can be made process 1 here")
    done = subprocess.run(
        [*isolated, sys.executable, "-c", PROGRAM], capture_output=True, text=True
    )
    assert done.stdout == "still here\n"
    assert done.returncode == 128 + signal.SIGTERM


def test_a_second_signal_in_this_process_restores_the_default_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the second signal does, with the end of the process itself held back."""
    raised: list[tuple[int, object]] = []
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(
        signal, "raise_signal", lambda signum: raised.append((signum, signal.getsignal(signum)))
    )
    handler = missive.ShutdownHandler()
    handler.enable()
    try:
        handler.signal_handler(signal.SIGTERM, None)
        handler.signal_handler(signal.SIGTERM, None)
    finally:
        handler.disable()
    assert raised == [(signal.SIGTERM, signal.SIG_DFL)]
    assert ended == [128 + signal.SIGTERM]
