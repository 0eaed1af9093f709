"""Run an adapter in a thread for the length of a ``with`` statement."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from patience import DEADLINE


class Running:
    """An adapter that runs in a thread of its own.

    On leaving the ``with`` it is stopped, and what ``run`` raised is raised.

    :ivar error: what ``run`` raised, once it has ended.
    """

    def __init__(self, adapter: Any, *, wait: bool = True) -> None:
        self.adapter = adapter
        self.error: BaseException | None = None
        self._wait = wait
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.adapter.run()
        except BaseException as error:
            self.error = error
            self.adapter.ready.set()  # nobody need wait any more

    def __enter__(self) -> Running:
        self._thread.start()
        if self._wait:
            assert self.adapter.ready.wait(DEADLINE), "the adapter did not become ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.adapter.stop()
        self.join()
        if error is None and self.error is not None:
            raise self.error

    def join(self) -> None:
        """Wait until ``run`` has ended."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "run() did not end"

    def fails(self) -> BaseException:
        """Wait until ``run`` has ended by an error, and give that."""
        self.join()
        assert self.error is not None, "run() ended without an error"
        error, self.error = self.error, None
        return error
