"""The errors of transports and of dead letter stores; import them from ``missive.errors``."""

from __future__ import annotations

from collections.abc import Iterable

from .error_base import ConfigurationError, MissiveError, safe_text_of


class TransportError(MissiveError):
    """A transport cannot be used."""


class TransportUnreachable(TransportError):
    """A transport could not be reached within ``connect_timeout``.

    :ivar seconds: how long was tried.
    """

    def __init__(self, adapter: object, seconds: float, last: BaseException) -> None:
        said = safe_text_of(last) or type(last).__name__
        super().__init__(
            f"{type(adapter).__name__} could not reach its transport within {seconds:g} s"
            f" (last: {said}); check the address and that the server runs"
        )
        self.seconds = seconds


class TransportRefused(TransportError):
    """A transport refused in a way that trying again does not mend; see ``__cause__``."""

    def __init__(self, adapter: object, error: BaseException) -> None:
        super().__init__(
            f"{type(adapter).__name__} was refused by its transport: {type(error).__name__};"
            " check the credentials, the permissions and the names of what it reads"
        )


class DrainTimeout(TransportError):
    """Messages were still in flight at the drain deadline.

    :ivar message_ids: the printable ids of those messages.
    :ivar seconds: the deadline.
    """

    def __init__(self, message_ids: Iterable[str], seconds: float) -> None:
        self.message_ids = tuple(message_ids)
        self.seconds = seconds
        super().__init__(
            f"{len(self.message_ids)} message(s) still in flight {seconds:g} s after stop:"
            f" {', '.join(self.message_ids)}; raise drain_timeout or make the handlers quicker"
        )


class DeadLetterStoreError(MissiveError):
    """A dead letter store cannot be read or written."""


class DeadLetterStoreRefused(DeadLetterStoreError, ConfigurationError):
    """What was named cannot serve as a dead letter store, and was left as it is.

    :ivar place: the file or address that was named.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place} cannot serve as a dead letter store: {problem}")
        self.place = place


class DeadLetterStoreBusy(DeadLetterStoreError):
    """Others kept a dead letter store busy for as long as it may wait; nothing was written.

    :ivar place: the file or address of the store.
    :ivar seconds: how long it waited.
    """

    def __init__(self, place: str, seconds: float) -> None:
        super().__init__(
            f"{place} was kept busy by others for {seconds:g} s; find what holds it (a long"
            " transaction, a backup), or give the store a longer busy_timeout"
        )
        self.place = place
        self.seconds = seconds


class DeadLetterStoreFull(DeadLetterStoreError):
    """There is no room for another dead letter; nothing was written, and earlier ones are intact.

    :ivar place: the file or address of the store.
    """

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place} cannot grow: the disk or its quota is full; make room, then start again"
        )
        self.place = place


class UnknownScheme(ConfigurationError):
    """No installed distribution knows the scheme of a URL.

    :ivar scheme: the scheme.
    :ivar known: the schemes that are installed.
    """

    def __init__(self, scheme: str, kind: str, known: Iterable[str], remedy: str) -> None:
        self.scheme = scheme
        self.known = tuple(sorted(known))
        super().__init__(
            f"no {kind} for {scheme + ':' if scheme else 'a URL without a scheme'}"
            f" (installed: {', '.join(self.known) or 'none'}); {remedy}"
        )
