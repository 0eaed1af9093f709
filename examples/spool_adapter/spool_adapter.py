"""An adapter for a spool: a folder in which each file is a message."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from missive import Capabilities, ConfigurationError, Delivery, M, Processor
from missive.polling import PollingAdapter, read_options

if TYPE_CHECKING:
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

#: How many files are taken at once, at most.
BATCH = 10
#: How often the folder is looked at while nothing is due, in seconds.
INTERVAL = 0.05


class SpoolAdapter(PollingAdapter[M]):
    """Takes the files of a folder as messages, in the order of their names, and removes what is acked.

    A publisher writes a file under a name that begins with a dot, and renames it when it is whole. A
    file that was delivered twice is called ``NAME.2``. It is due once its time of modification is past.

    :param folder: the spool.
    :param retry_after: after so many seconds a file whose message was nacked is redelivered.
    :param lease: after so many seconds the files of a consumer that died are redelivered.
    :param max_deliveries: a file that was delivered so often and never settled is dead-lettered
        without being handled again.
    :param options: what every PollingAdapter takes.
    """

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        stable_id=True,
        delivery_count=True,
        reconnects=True,
        settles_across_connections=True,
    )
    connection_errors = (OSError,)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        folder: Path | str,
        *,
        retry_after: float = 5.0,
        lease: float = 30.0,
        max_deliveries: int = 10,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        for name, value in (
            ("retry_after", retry_after),
            ("lease", lease),
            ("max_deliveries", max_deliveries),
        ):
            if not value > 0:
                raise ConfigurationError(f"{name} of {type(self).__name__} must be more than 0")
        self.folder = Path(folder)
        self.retry_after = retry_after
        self.lease = lease
        self.max_deliveries = max_deliveries
        self.keepalive_interval = lease / 3

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> SpoolAdapter[Any]:
        """Build the adapter from ``spool:/var/spool/orders?retry_after=2``."""
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "retry_after": float,
            "lease": float,
            "max_deliveries": int,
        }
        given = {**read_options(url, readers), **options}
        return cls(message_cls, processor, unquote(urlsplit(url).path), **given)

    def open(self) -> None:
        """Make sure that the spool is there."""
        if not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is no folder")

    def close(self) -> None:
        """Hold nothing: there is no connection to a folder."""

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Claim the files that are due, the first names first.

        One that was delivered before is claimed alone: it may end its process, and others with it.
        """
        deliveries: list[Delivery] = []
        for name in sorted(self._due()):
            again = "." in name
            if again and deliveries:
                break
            with suppress(FileNotFoundError):  # another consumer was quicker
                deliveries.append(self._claim(name))
            if again or len(deliveries) == BATCH:
                break
        if not deliveries:
            self.wait(min(timeout, INTERVAL))
        return deliveries

    def _due(self) -> Iterator[str]:
        now = time()
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):
                if not entry.name.startswith(".") and entry.stat().st_mtime <= now:
                    yield entry.name

    def _claim(self, name: str) -> Delivery:
        stem, _, count = name.partition(".")
        path = self.folder / f"{stem}.{int(count or 0) + 1}"
        _set_due(self.folder / name, self.lease)
        Path(self.folder, name).rename(path)  # of several consumers, one can
        delivery = Delivery(
            path.read_bytes(),
            message_id=stem,
            source=str(self.folder),
            delivery_count=int(count or 0) + 1,
            native=path,
        )
        if int(count or 0) >= self.max_deliveries:
            delivery.rejection = (f"delivered {count} times and never settled", "handling")
        return delivery

    def keepalive(self) -> None:
        """Keep the claims of messages that are being handled."""
        for path in _files(self.unsettled()):
            with suppress(FileNotFoundError):
                _set_due(path, self.lease)

    def ack(self, message: M) -> None:
        """Remove the file."""
        message.native.unlink(missing_ok=True)

    def nack(self, message: M) -> None:
        """Leave the file, and let it rest for a while."""
        with suppress(FileNotFoundError):
            _set_due(message.native, self.retry_after)

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Let others have what was claimed and not handled, uncounted."""
        for path in _files(deliveries):
            with suppress(FileNotFoundError):
                _set_due(path, 0)
                path.rename(path.with_suffix(f".{int(path.suffix[1:]) - 1}"))


def _files(deliveries: Sequence[Delivery | bytes]) -> Iterator[Path]:
    for delivery in deliveries:
        if isinstance(delivery, Delivery) and isinstance(delivery.native, Path):
            yield delivery.native


def _set_due(path: Path, seconds: float) -> None:
    """Set when a file becomes due, in seconds from now.

    :raises FileNotFoundError: it was settled, or another consumer has claimed it.
    """
    due = time() + seconds
    os.utime(path, (due, due))


def publish(folder: Path | str, body: bytes) -> str:
    """Put a message into a spool, whole or not at all.

    :returns: the name of its file; names sort in the order of publication.
    """
    name = f"{uuid.uuid1().time:020}-{uuid.uuid4().hex}"
    draft = Path(folder, f".{name}")
    draft.write_bytes(body)
    draft.rename(Path(folder, name))
    return name
