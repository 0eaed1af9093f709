"""The lab: what a check works with; it runs adapters, publishes to them and waits for effects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from missive import Adapter, RawMessage

from .children import Child
from .contract import ContractBroken, expect
from .harness import AdapterHarness, capabilities_of
from .ledger import Account
from .proxy import Proxy
from .recorder import Behaviour, Letters, Recorder
from .styles import PLAIN

#: How long a look at something that has no event waits before the next look, in seconds.
GLANCE = 0.01
#: The scenarios of child processes that have handlers.
STYLED = ("work", "fork_work")
#: How long something that must not come about is watched, in seconds.
A_WHILE = 0.2


def everything(message: object) -> bool:
    """Match every message."""
    return True


class Publication:
    """One published message, and what became of it on the publisher's side."""

    def __init__(self, publish: Callable[[], bool], *, aside: bool) -> None:
        self._publish = publish
        self._answer: bool | None = None
        self.error: Exception | None = None
        self._done = threading.Event()
        if aside:
            threading.Thread(target=self._run, name="missive-publisher", daemon=True).start()
        else:
            self._run()
            if self.error is not None:
                raise self.error

    def _run(self) -> None:
        try:
            self._answer = self._publish()
        except Exception as error:  # raised in the check's thread, by accepted()
            self.error = error
        finally:
            self._done.set()

    def accepted(self, patience: float) -> bool:
        """Wait for the transport's answer, and say whether it took the message.

        :raises ContractBroken: there was no answer in time.
        :raises Exception: what publishing raised.
        """
        expect(self._done.wait(patience), f"the publisher had no answer after {patience:g} s")
        if self.error is not None:
            raise self.error
        return bool(self._answer)


class Running:
    """An adapter while it runs in a thread of its own."""

    def __init__(self, adapter: Any, *, again: bool, patience: float) -> None:
        self.adapter = adapter
        self.error: BaseException | None = None
        self.patience = patience
        self._again = again
        self._more = threading.Event()
        self._stopping = False
        #: Whether run() may end with an error.
        self.may_fail = False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="missive-run", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                if self._again:  # one run for each time that something was published
                    self._more.wait()
                if self._stopping:
                    break
                self._more.clear()
                self.adapter.run()
                if not self._again:
                    break
        except BaseException as error:  # raised in the check's own thread
            self.error = error
        finally:
            self.ended.set()

    def nudge(self) -> None:
        """Have an adapter whose ``run`` ends by itself run again, since there is more."""
        self._more.set()

    def wait_ready(self) -> None:
        """Wait until the adapter says that it is ready.

        :raises ContractBroken: it did not, or ``run`` ended before.
        """
        if self._again:  # ready is a moment's matter for what runs to an end
            return
        deadline = monotonic() + self.patience
        while not self.adapter.ready.wait(GLANCE):
            if self.ended.is_set():
                raise ContractBroken(f"run() ended before ready was set: {self._how()}")
            expect(monotonic() < deadline, f"ready was not set within {self.patience:g} s of run()")

    def wait_not_ready(self) -> None:
        """Wait until the adapter says that it is not ready.

        :raises ContractBroken: it went on being ready.
        """
        wait_until(
            lambda: not self.adapter.ready.is_set(),
            self.patience,
            "ready stayed set",
        )

    def failure(self) -> BaseException:
        """Wait for ``run`` to end, and give what it raised.

        :raises ContractBroken: it did not end, or ended without an error.
        """
        self.may_fail = True
        self.nudge()
        expect(
            self.ended.wait(self.patience),
            f"run() was expected to raise, and had not ended after {self.patience:g} s",
        )
        if self.error is None:
            raise ContractBroken("run() was expected to raise, and returned")
        return self.error

    def ask_to_stop(self) -> None:
        """Stop the adapter, unless it ends by itself: stop() would then end its next run at once."""
        self._stopping = True
        if not self.ended.is_set() and not self._again:
            self.adapter.stop()
        self._more.set()

    def stop(self) -> None:
        """Stop the adapter, wait for ``run`` to return, and make sure that it raised nothing.

        :raises ContractBroken: it did not return, or raised.
        """
        self.ask_to_stop()
        expect(
            self.ended.wait(self.patience),
            f"run() had not returned {self.patience:g} s after stop()",
        )
        self.thread.join(self.patience)
        if self.error is not None and not self.may_fail:
            raise ContractBroken(f"{self._how()}") from self.error

    def _how(self) -> str:
        if self.error is None:
            return "it returned"
        return f"run() raised {type(self.error).__name__}"


def wait_until(condition: Callable[[], object], patience: float, otherwise: str) -> None:
    """Wait for something that sets no event.

    :param otherwise: what was seen if it does not come about.
    :raises ContractBroken: it did not come about in ``patience`` seconds.
    """
    deadline = monotonic() + patience
    pause = threading.Event()
    while not condition():
        expect(monotonic() < deadline, f"{otherwise}, {patience:g} s on")
        pause.wait(GLANCE)


def glances() -> Iterator[None]:
    """Come round again and again, for long enough that what is on its way arrives."""
    deadline = monotonic() + A_WHILE
    pause = threading.Event()
    yield
    while monotonic() < deadline:
        pause.wait(GLANCE)
        yield


class AdapterLab:
    """A started harness, and what a check does with it.

    :param harness_cls: the harness of the adapter under test.
    :param folder: an empty folder.
    :param artefacts: where ledgers are kept; the folder itself unless given.
    :param style: how the handlers of the checks are written: ``"plain"``, ``"async"``, ``"batch:7"``.
    """

    def __init__(
        self,
        harness_cls: type[AdapterHarness],
        folder: Path,
        artefacts: Path | None = None,
        style: str = PLAIN,
    ) -> None:
        self.style = style
        self.harness_cls = harness_cls
        self.folder = folder
        self.artefacts = artefacts or folder
        self.capabilities = capabilities_of(harness_cls)
        self.patience = harness_cls.patience
        self.accounts: list[Account] = []
        #: What the end of the lab is to undo, last first.
        self.at_end = ExitStack()
        self._harnesses: list[AdapterHarness] = []
        self._running: list[Running] = []
        self._children: list[Child] = []
        self._proxies: list[Proxy] = []

    def __enter__(self) -> AdapterLab:
        self.harness = self.another_harness()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.end()
        for running in self._running:
            running.ask_to_stop()
        for proxy in self._proxies:
            proxy.close()
        for harness in reversed(self._harnesses):
            harness.stop()
        for running in self._running:
            running.thread.join(1.0)
        self.at_end.close()

    # Making things.

    def another_harness(self) -> AdapterHarness:
        """Start one more harness, with a transport of its own."""
        folder = self.folder / f"harness-{len(self._harnesses) + 1}"
        folder.mkdir(parents=True)
        harness = self.harness_cls(folder)
        self._harnesses.append(harness)
        harness.start()
        return harness

    def record(
        self,
        behaviour: Behaviour | None = None,
        *,
        matcher: Callable[[Any], bool] | None = everything,
        dlq: MutableMapping[bytes, tuple[Any, str]] | None = None,
        observe: bool = False,
        blocks: bool = False,
    ) -> Recorder:
        """Make a processor that notes what reaches its handler; see :class:`Recorder`."""
        return Recorder(
            behaviour,
            matcher=matcher,
            dlq=dlq,
            observe=observe,
            patience=self.patience,
            style=self.style,
            blocks=blocks,
        )

    def letters(self, on_write: Callable[[bytes], None] | None = None) -> Letters:
        """Make a DLQ that can be waited on."""
        return Letters(on_write)

    @contextmanager
    def running(
        self,
        recorder: Recorder,
        *,
        adapter: Adapter[Any] | None = None,
        message_cls: Callable[[bytes], Any] = RawMessage,
        ready: bool = True,
        **options: Any,
    ) -> Generator[Running]:
        """Run an adapter in a thread, wait until it is ready, and stop it in the end.

        :param adapter: the adapter to run; one of the lab's harness unless given.
        :param ready: False does not wait for readiness.
        :param options: keyword arguments for the adapter.
        """
        if adapter is None:
            adapter = self.harness.make_adapter(recorder.processor, message_cls, **options)
        running = Running(adapter, again=self.harness.run_ends, patience=self.patience)
        self._running.append(running)
        if self.harness.run_ends and self.harness.remaining():
            running.nudge()
        try:
            if ready:
                running.wait_ready()
            yield running
            running.stop()
        finally:
            running.ask_to_stop()

    def publish(
        self,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        harness: AdapterHarness | None = None,
    ) -> Publication:
        """Publish a message; where the sender waits for an answer, in a thread of its own."""
        chosen = harness or self.harness
        if source is None and chosen.sources:
            source = chosen.sources[0]
        publication = Publication(
            lambda: chosen.publish(body, headers=headers, source=source),
            aside=self.capabilities.delivery == "request-reply",
        )
        for running in self._running:
            running.nudge()
        return publication

    def proxy(self) -> Proxy:
        """Put a proxy between the adapters made from now on and their broker."""
        proxy = Proxy(*self.harness.endpoint())
        self._proxies.append(proxy)
        self.harness.proxied(*proxy.address)
        return proxy

    def child(self, scenario: str, **settings: Any) -> Child:
        """Start a process that runs an adapter on the same transport; see ``children``."""
        if scenario in STYLED:
            settings["style"] = self.style
        child = Child(
            self.harness,
            scenario,
            settings,
            folder=self.folder / f"child-{len(self._children) + 1}",
        )
        self._children.append(child)
        return child

    # Looking at things.

    def expect_settled(self, *publications: Publication) -> None:
        """Make sure that the transport was told that everything is done with.

        :raises ContractBroken: it still has messages, or told a sender of a failure.
        """
        if self.capabilities.delivery == "request-reply":
            for publication in publications:
                expect(
                    publication.accepted(self.patience),
                    "the sender of a message that was settled was told of a failure",
                )
        else:
            self.wait_remaining(0, "after all were settled")

    def expect_dead_lettered(self, *publications: Publication) -> None:
        """Make sure that dead-lettered messages are done with for the transport.

        :raises ContractBroken: it still has them, where it is not itself the DLQ.
        """
        if not self.harness.offers("own_dlq"):
            self.expect_settled(*publications)

    def expect_unsettled(self, *publications: Publication) -> None:
        """Make sure that nothing of these was settled, where the transport can know.

        :raises ContractBroken: the transport gave them up, or told a sender of success.
        """
        if self.capabilities.delivery == "request-reply":
            for publication in publications:
                expect(
                    not publication.accepted(self.patience),
                    "the sender of a message that was not settled was told of success",
                )
        elif self.capabilities.delivery == "at-least-once":
            remaining = self.least_remaining()
            expect(
                remaining == len(publications),
                f"the transport still has {remaining} of {len(publications)} unsettled messages",
            )

    def expect_raised(
        self, running: Running, error_cls: type[BaseException], *publications: Publication
    ) -> BaseException | None:
        """Make sure that a failure ended ``run``, or that a serving adapter answered it.

        :returns: what ``run`` raised; None for an adapter that answers a sender instead.
        :raises ContractBroken: it did not.
        """
        if self.capabilities.delivery == "request-reply":
            running.may_fail = True  # answering is asked for; going on is the adapter's affair
            for publication in publications:
                expect(
                    not publication.accepted(self.patience),
                    f"the sender was told of success where {error_cls.__name__} was raised",
                )
            return None
        error = running.failure()
        expect(
            isinstance(error, error_cls),
            f"run() was expected to raise {error_cls.__name__}, and raised {type(error).__name__}",
        )
        return error

    def least_remaining(self) -> int:
        """Count what the transport has, for long enough that an order on its way arrives."""
        least = self.harness.remaining()
        for _ in glances():
            if not least:
                break
            least = min(least, self.harness.remaining())
        return least

    def wait_remaining(self, count: int, when: str) -> None:
        """Wait until the transport has so many messages.

        :raises ContractBroken: it never had.
        """
        last = -1
        deadline = monotonic() + self.patience
        pause = threading.Event()
        while (last := self.harness.remaining()) != count:
            expect(
                monotonic() < deadline,
                f"the transport had {last} message(s) instead of {count} {when},"
                f" {self.patience:g} s on",
            )
            pause.wait(GLANCE)

    def account(self, account: Account, check_id: str) -> None:
        """Keep the account of a fault run as an artefact, to be printed with the summary."""
        self.accounts.append(account)
        name = self.harness.adapter_cls.__name__
        account.write(self.artefacts / f"ledger-{name}-{check_id}.json")
