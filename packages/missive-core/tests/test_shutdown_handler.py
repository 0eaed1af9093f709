"""The shutdown handler."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading

import missive
import pytest
from missive import shutdown_handler


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
    """A repeated signal takes effect at once."""
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_blocks_the_signals_until_the_child_has_its_own_handlers() -> None:
    """The hooks of a fork, called one by one: the child loses none and handles them as before."""
    former = signal.getsignal(signal.SIGTERM)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = missive.ShutdownHandler()
    handler.enable()
    try:
        shutdown_handler._before_fork()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask | set(shutdown_handler.SIGNALS)
        shutdown_handler._after_fork_in_child()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
        assert signal.getsignal(signal.SIGTERM) is former
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        handler.disable()


def test_where_there_is_no_fork_signals_are_handled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows has no hooks for a fork."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    module = runpy.run_path(shutdown_handler.__file__)
    handler = module["ShutdownHandler"]()
    former = signal.getsignal(signal.SIGTERM)
    handler.enable()
    try:
        signal.raise_signal(signal.SIGTERM)
        assert handler.should_exit()
    finally:
        handler.disable()
    assert signal.getsignal(signal.SIGTERM) is former


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
