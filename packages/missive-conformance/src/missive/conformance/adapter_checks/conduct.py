"""Conduct: what an adapter leaves alone, who it is after a fork, and how soon it stops."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from missive import Processor, RawMessage

from ..contract import check, expect
from ..lab import AdapterLab
from .construction import open_files
from .processes import SAFE, Books

#: What nobody does without touching the outside, as Python's audit hooks call it.
OUTSIDE = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "sqlite3.",
    "shutil.",
    "tempfile.",
    "signal.",
    "urllib.",
    "_thread.start_new_thread",
)
#: What looks at the outside alone, or is of the interpreter itself.
HARMLESS = ("os.fspath", "os.putenv", "os.unsetenv", "socket.gethostname")

#: How the names of files end that an import opens.
IMPORTED = (".py", ".pyc", ".pyd", ".so")


class Listener:
    """Notes what this thread does to the outside while in the ``with``.

    Audit hooks cannot be removed, so there is one, which is deaf at other times.
    """

    _current: Listener | None = None
    _hooked = False

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def __enter__(self) -> Listener:
        if not Listener._hooked:
            Listener._hooked = True
            sys.addaudithook(Listener._hear)
        Listener._current = self
        self._start = threading.Thread.start
        threading.Thread.start = self._started  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *exc: object) -> None:
        threading.Thread.start = self._start  # type: ignore[method-assign]
        Listener._current = None

    @property
    def _started(self) -> Callable[[threading.Thread], None]:
        """What stands for ``Thread.start``, of which older Pythons audit nothing."""

        def start(thread: threading.Thread) -> None:
            if threading.get_ident() == self._thread:
                self.heard.append("threading.Thread.start")
            self._start(thread)

        return start

    @staticmethod
    def _hear(event: str, arguments: tuple[Any, ...]) -> None:
        listener = Listener._current
        if listener is None or threading.get_ident() != listener._thread:
            return
        if event.startswith(OUTSIDE) and event not in HARMLESS and not _of_python(event, arguments):
            listener.heard.append(event)


def _of_python(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an event is about a file of this Python, such as what it imports.

    Programs are imported from the folders of ``sys.path``, and the author's own is among them: there
    only what an import does is of Python.
    """
    path = arguments[0] if arguments else None
    if not isinstance(path, str):
        return False
    if path.startswith((sys.prefix, sys.base_prefix)):
        return True
    imports = path.endswith(IMPORTED) or event in ("os.listdir", "os.scandir")
    return imports and path.startswith(tuple(filter(None, sys.path)))


class Conduct:
    """What holds beside the messages."""

    @check("A150", read="adapters#construction")
    def test_a150_construction_touches_nothing_outside(self, lab: AdapterLab) -> None:
        """Building an adapter opens no file, looks up no name and asks nobody anything, not even
        for a moment.
        """
        lab.harness.make_adapter(Processor[Any](), RawMessage)  # what is imported late is now
        with Listener() as listener:
            lab.harness.make_adapter(Processor[Any](), RawMessage)
        expect(not listener.heard, f"while it was built this happened: {', '.join(listener.heard)}")

    @check("A151", needs=("PollingAdapter",), read="production#health")
    def test_a151_a_look_has_no_effect(self, lab: AdapterLab) -> None:
        """status(), ready and repr() may be asked from any thread at any time; they receive,
        settle and connect nothing.
        """
        recorder = lab.record()
        adapter: Any = lab.harness.make_adapter(recorder.processor, RawMessage)
        threads: dict[str, set[threading.Thread]] = {}
        for name in ("open", "close", "receive", "ack", "nack", "flush"):
            setattr(adapter, name, _watched(getattr(adapter, name), name, threads))

        def look() -> None:
            adapter.status()
            adapter.ready.is_set()
            repr(adapter)

        before = open_files()
        look()
        expect(not threads, f"before run() a look called {', '.join(sorted(threads))}")
        expect(before == open_files(), "before run() a look opened a file")
        with lab.running(recorder, adapter=adapter) as running:
            for number in range(20):
                lab.publish(b"looked at %d" % number)
                look()
            recorder.wait_seen(20)
            look()
            lab.expect_settled()
        strangers = [name for name, found in threads.items() if found != {running.thread}]
        expect(not strangers, f"a look called {', '.join(sorted(strangers))}")
        expect(len(recorder.seen) == 20, f"20 messages were handled {len(recorder.seen)} times")

    @check("A152", read="adapters#stopping")
    def test_a152_an_idle_stop_is_prompt(self, lab: AdapterLab) -> None:
        """stop() ends an idle run() within harness.stop_within seconds, in one of three tries at
        least.
        """
        limit = lab.harness.stop_within
        took: list[float] = []
        while len(took) < 3 and min(took, default=limit + 1) > limit:
            with lab.running(lab.record()) as running:
                if lab.harness.run_ends:
                    return
                idle = threading.Event()
                idle.wait(0.1)  # so that it waits for messages
                began = monotonic()
                running.ask_to_stop()
                running.stop()
                took.append(monotonic() - began)
        expect(
            min(took) <= limit,
            f"run() returned {min(took):.1f} s after stop(), where {limit:g} s are allowed; wait"
            " with self.wait(), which stop() ends",
        )

    @check(
        "A153",
        needs=(*SAFE, "competing_consumers", "no harness.run_ends"),
        read="adapters#competing-consumers",
    )
    def test_a153_one_built_before_a_fork_is_two(self, lab: AdapterLab) -> None:
        """An adapter that was built before a fork and is run in two children is two consumers: no
        message is handled twice, and none is lost when one of them stops.
        """
        books = Books(lab, "built before a fork", "A153")
        parent = lab.child("fork_work", children=2)
        parent.wait_noted("ready", 2)
        books.publish(*range(20))
        lab.wait_remaining(0, "after two children had run")
        parent.interrupt(signal.SIGUSR1)  # one of them stops
        parent.wait_noted("returned", 1)
        books.publish(*range(20, 30))
        lab.wait_remaining(0, "after one of the children had stopped")
        parent.interrupt(signal.SIGTERM)
        status = parent.wait()
        expect(status == 0, f"the parent ended with status {status}: {parent.tail()}")
        account = books.balance(parent)
        expect(account.at_fault is None, str(account.at_fault))
        handled = Counter(line["number"] for line in parent.lines if line["event"] == "started")
        twice = [number for number, count in handled.items() if count > 1]
        expect(not twice, f"{len(twice)} of 30 messages were handled twice")


def _watched(
    method: Callable[..., Any], name: str, threads: dict[str, set[threading.Thread]]
) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        threads.setdefault(name, set()).add(threading.current_thread())
        return method(*arguments)

    return watched
