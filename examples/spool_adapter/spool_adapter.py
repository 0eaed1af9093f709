"""An adapter for a spool: a folder in which each file is a message."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from missive import Capabilities, ConfigurationError, Delivery, M, Processor
from missive.polling import PollingAdapter

if TYPE_CHECKING:
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

#: How many files are read at once, at most.
BATCH = 100
#: How often the folder is looked at while it is empty, in seconds.
INTERVAL = 0.05


class SpoolAdapter(PollingAdapter[M]):
    """Takes the files of a folder as messages, in the order of their names, and removes what is acked.

    A publisher writes a file under a name that begins with a dot, and renames it when it is whole.

    :param folder: the spool.
    :param retry_after: after so many seconds a file whose message was nacked is redelivered.
    :param options: what every PollingAdapter takes.
    """

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        stable_id=True,
        reconnects=True,
    )
    connection_errors = (OSError,)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        folder: Path | str,
        *,
        retry_after: float = 5.0,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        if not retry_after > 0:
            raise ConfigurationError(f"retry_after of {type(self).__name__} must be more than 0 s")
        self.folder = Path(folder)
        self.retry_after = retry_after
        self._delivered: set[str] = set()
        self._resting: dict[str, float] = {}

    def open(self) -> None:
        """Make sure that the spool can be read, and forget what was delivered before."""
        if not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is no folder")
        self._delivered.clear()

    def close(self) -> None:
        """Hold nothing: there is no connection to a folder."""

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Read the files that are due, the first names first."""
        now = monotonic()
        self._resting = {name: due for name, due in self._resting.items() if due > now}
        waiting = {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
        names = sorted(waiting - self._delivered - self._resting.keys())
        if not names:
            self.wait(min(timeout, INTERVAL))
            return ()
        deliveries = [self._read(name) for name in names[:BATCH]]
        self._delivered.update(names[:BATCH])
        return deliveries

    def _read(self, name: str) -> Delivery:
        path = self.folder / name
        return Delivery(path.read_bytes(), message_id=name, source=str(self.folder), native=path)

    def ack(self, message: M) -> None:
        """Remove the file."""
        name = message.native.name
        message.native.unlink(missing_ok=True)
        self._delivered.discard(name)

    def nack(self, message: M) -> None:
        """Leave the file, and let it rest for a while."""
        name = message.native.name
        self._resting[name] = monotonic() + self.retry_after
        self._delivered.discard(name)


def publish(folder: Path | str, body: bytes) -> str:
    """Put a message into a spool, whole or not at all.

    :returns: the name of its file; names sort in the order of publication.
    """
    name = f"{uuid.uuid1().time:020}-{uuid.uuid4().hex}"
    draft = Path(folder, f".{name}")
    draft.write_bytes(body)
    draft.rename(Path(folder, name))
    return name
