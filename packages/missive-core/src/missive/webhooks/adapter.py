"""The webhook adapter: what an adapter is given and promises, whatever server it is called by."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from ..adapter import Adapter
from ..capabilities import OF_A_STORE, Capabilities
from ..errors import ConfigurationError
from ..handling import Outcome
from ..message import M, check_message_cls
from ..processor import Processor
from . import options
from .answers import AnswerLike
from .challenges import Challenge
from .inbox import InboxOptions, store_of
from .intake import Intake
from .request import WebhookRequest
from .senders import Sender
from .verifying import Verifier

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What an adapter promises whose senders wait until their message was handled.
REPLIES = Capabilities(
    delivery="request-reply",
    nack="error-response",
    competing_consumers=True,
    headers=True,
    max_bytes=1024 * 1024,
)
#: What one promises that stores a message before it answers.
STORES = replace(OF_A_STORE, stable_id=False, max_bytes=1024 * 1024)


class JudgingOptions(TypedDict, total=False):
    """The keyword arguments by which requests are judged and answered."""

    sender: Sender | None
    verify: Verifier | Callable[[WebhookRequest], bool] | None
    id_header: str | None
    id_from: Callable[[Any], object] | None
    content_types: Iterable[str] | None
    challenge: Challenge | Iterable[Challenge] | None
    answer: Callable[[Outcome, Any], AnswerLike | None] | None
    nack_status: int


class WebhookOptions(JudgingOptions, total=False):
    """The keyword arguments of a :class:`WebhookAdapter`."""

    path: str
    max_content_length: int
    health_paths: tuple[str, str] | None
    retry_after: int | None
    drain_timeout: float
    inbox: bool
    remember: timedelta
    inbox_workers: int


class WebhookAdapter(Adapter[M]):
    """Takes each POST on a path as a message, and answers with what became of it.

    A sender that gets no 2xx is expected to send again, so the transport promises what the sender
    does. With ``inbox=True`` a message is stored in the processor's DLQ under the sender's id,
    answered 202, and handled afterwards, at least once. Sent again, it is answered 202 and
    not handled again.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: the processor to run.
    :param path: the only path that takes messages, below where the application is mounted.
    :param max_content_length: the longest body that is taken, in bytes; a compressed one is as long
        as that neither before nor after it is decompressed.
    :param sender: what there is to know of a sender; see :mod:`missive.webhooks.senders`. Options
        that are given too replace the sender's.
    :param verify: says whether a request is its sender's own; see
        :mod:`missive.webhooks.signatures`. Or a function of (raw_body, headers) or (request) that
        returns True for those that are; what it raises refuses the request.
    :param id_header: the header with the sender's own id of a message, the same when it sends it
        again: ``X-GitHub-Delivery``, ``webhook-id``. Sent twice, it is refused.
    :param id_from: instead a function that returns the sender's id of a message, which it is given.
    :param content_types: the media types that are taken, such as ``application/json``; any unless
        given.
    :param challenge: answers handshakes: a function that is given each request which is no message
        yet, and returns ``(status, headers, body)`` or None; or several; see
        :mod:`missive.webhooks.challenges`.
    :param answer: answers messages: a function of outcome and message that returns ``(status,
        headers, body)``, or None for the usual answer.
    :param health_paths: the paths that say whether the process lives, and whether it is ready for
        messages; None for neither.
    :param nack_status: the status for a nack, from 400 to 599; senders tell "send again" from
        "never send this again" by it.
    :param retry_after: after how many seconds a sender may try again after a nack.
    :param drain_timeout: how long handlers may go on at the end, in seconds.
    :param inbox: whether messages are stored before they are answered, and handled afterwards. The
        processor's DLQ must be an :class:`~missive.letters.InboxStore`, such as ``SQLiteDLQ``.
    :param remember: for how long a message of the inbox is known after it was done.
    :param inbox_workers: how many messages of the inbox are handled at once in this process; 0
        leaves them to others: ``missive run app:processor --from deferred:``.
    :raises ConfigurationError: the arguments cannot work.

    :ivar ready: set while a message that is sent now would be handled: from the start of the
        process until ``stop``, and not while a before-hook fails or the DLQ cannot be written.
    """

    capabilities = REPLIES

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        *,
        path: str = "/",
        max_content_length: int = 1024 * 1024,
        health_paths: tuple[str, str] | None = ("/healthz", "/readyz"),
        retry_after: int | None = None,
        drain_timeout: float = 30.0,
        inbox: bool = False,
        remember: timedelta = timedelta(days=3),
        inbox_workers: int = 1,
        **judging: Unpack[JudgingOptions],
    ) -> None:
        if inbox:
            self.capabilities = STORES
        super().__init__(processor)
        check_message_cls(message_cls)
        if retry_after is not None:
            options.check_count("retry_after", retry_after, "seconds")
        if not drain_timeout >= 0:
            raise ConfigurationError(f"drain_timeout of {type(self).__name__} must be 0 s or more")
        self.message_cls = message_cls
        self.retry_after = retry_after
        self.ready = threading.Event()
        self.path = options.check_path("path", path)
        self.drain_timeout = drain_timeout
        self.health_paths = options.check_health_paths(health_paths, path)
        self.inbox_options = InboxOptions.checked(remember, inbox_workers) if inbox else None
        if inbox and processor.dlq is not None:
            store_of(processor)
        self.intake: Intake[M] = Intake(
            message_cls,
            path=path,
            limit=options.check_count("max_content_length", max_content_length, "bytes"),
            retry_after=retry_after,
            **judging,
        )

    @abstractmethod
    def set_ready(self) -> None:
        """Note that a message that is sent now would be handled, unless the end has begun."""

    @property
    def max_content_length(self) -> int:
        """The longest body that is taken, in bytes."""
        return self.intake.limit

    @property
    def id_header(self) -> str | None:
        """The header with the sender's id of a message, if there is one."""
        return self.intake.id_header

    @property
    def content_types(self) -> frozenset[str] | None:
        """The media types that are taken; None for any."""
        return self.intake.content_types

    def ack(self, message: M) -> None:
        """Do nothing: the response says so, by the outcome."""

    def nack(self, message: M) -> None:
        """Do nothing: the response says so, by the outcome."""
