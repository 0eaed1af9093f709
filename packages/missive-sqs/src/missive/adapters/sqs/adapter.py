"""The adapter of Amazon SQS: standard and FIFO queues, at least once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from missive import Capabilities, Delivery, HandlingContext, M, Outcome
from missive.polling import PollingAdapter

from .errors import BOTO_ERRORS, SQSUnavailable, raise_as
from .lag import Lag
from .leases import LONGEST
from .options import check_options, check_retries, most_attempts
from .outbox import BATCH
from .queue import Queue, most_received
from .session import Session
from .sqs_message import SQSMessage
from .urls import read_url

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from .bodies import BodyEncoding

logger = logging.getLogger("missive.adapters.sqs.adapter")

#: How long settled messages wait at most for others to be deleted together, in seconds.
FLUSH_INTERVAL = 0.1


class SQSAdapter(PollingAdapter[M]):
    """Reads a queue of Amazon SQS, at least once; any number of processes share it.

    A message's ``source`` is the name of the queue, its id the ``MessageId`` of SQS, its headers
    the message attributes, its ``delivery_count`` the ``ApproximateReceiveCount``, its ``native``
    the :class:`SQSMessage`. On a FIFO queue, the messages of a group are handled in order, one at a
    time; several workers handle several groups at once.

    :param queue_url: the URL of the queue, or its name.
    :param client: a client as ``boto3.client("sqs")`` returns it. By default, the adapter makes one
        with the credentials and the region that boto3 finds.
    :param region: the region; by default the one in ``queue_url``, or the one that boto3 finds.
    :param endpoint: where SQS answers, if not at AWS: a local stand-in, or a VPC endpoint.
    :param visibility: seconds, a whole number, for which a message is hidden from other consumers.
        After a crash, it is redelivered when they are over. A handler may take longer.
    :param wait_time: how long a poll waits for messages, in whole seconds, 20 at most.
    :param batch_size: how many messages one poll asks for, 10 at most.
    :param receivers: how many polls, and as many deletions, run at once.
    :param retry_after: seconds until a nacked message is redelivered.
    :param max_deliveries: after this many deliveries without settlement, a message becomes a dead
        letter without being handled again; without a DLQ the adapter stops. None: no limit, which
        leaves it to the queue's redrive policy.
    :param sns: unwrap the notifications of SNS; their attributes become headers.
    :param body_encoding: ``"base64"`` if senders encode bodies in base64; None if bodies are text.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "aws_sqs"
    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        competing_consumers=True,
        stable_id=True,
        delivery_count=True,
        headers=True,
        binary_safe=False,
        empty_body=False,
        max_bytes=1024 * 1024,
        reconnects=True,
        delayed_nack=True,
        max_delay=float(LONGEST),
        settles_across_connections=True,
    )
    connection_errors = (SQSUnavailable,)
    flush_interval = FLUSH_INTERVAL

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        queue_url: str,
        *,
        client: Any = None,
        region: str | None = None,
        endpoint: str | None = None,
        visibility: int = 60,
        wait_time: int = 20,
        batch_size: int = BATCH,
        receivers: int = 1,
        retry_after: float = 30.0,
        max_deliveries: int | None = 10,
        sns: bool = False,
        body_encoding: BodyEncoding | None = None,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        check_options(
            self,
            queue_url=queue_url,
            visibility=visibility,
            wait_time=wait_time,
            batch_size=batch_size,
            receivers=receivers,
            retry_after=retry_after,
            max_deliveries=max_deliveries,
            body_encoding=body_encoding,
        )
        self.visibility = visibility
        self.wait_time = wait_time
        self.batch_size = batch_size
        self.receivers = receivers
        self.retry_after = retry_after
        self.max_deliveries = max_deliveries
        self.sns = sns
        self.body_encoding: BodyEncoding | None = body_encoding
        self._senders = max(2, receivers)
        self._queue = Queue(
            queue_url,
            client=client,
            region=region,
            endpoint=endpoint,
            connections=receivers + self._senders + 1,
            wait_time=wait_time,
        )
        self.source = self._queue.name
        self.keepalive_interval = visibility / 4
        self._session: Session | None = None
        self._was_open = False  # in this run

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> SQSAdapter[Any]:
        """Build the adapter from ``sqs://orders?region=eu-west-1``, or from the URL of a queue.

        ``sqs://sqs.eu-west-1.amazonaws.com/123456789012/orders`` is the latter. The other keyword
        arguments may stand in the query too, but for ``client``.

        :raises ConfigurationError: the URL cannot be read, or names no queue.
        """
        queue, own = read_url(url, cls.url_options)
        given: dict[str, Any] = {"queue_url": queue, **own, **options}
        return cls(message_cls, processor, **given)

    # Connecting.

    def open(self) -> None:
        """Find the queue; what was received before is still this process's own."""
        check_retries(type(self).__name__, self.processor, self.max_deliveries)
        with self._judging(running=self._was_open):
            self._queue.find()
            attributes = self._queue.attributes("RedrivePolicy")
        if self._session is None:
            self._warn_of_redrive(attributes.get("RedrivePolicy"))
            self._session = Session(
                self._queue,
                visibility=self.visibility,
                wait_time=self.wait_time,
                batch_size=self.batch_size,
                receivers=self.receivers,
                senders=self._senders,
                max_deliveries=self.max_deliveries,
                sns=self.sns,
                encoding=self.body_encoding,
                wake=self.wake,
            )
        self._was_open = True
        self._session.renew()
        self._session.poll()

    def _warn_of_redrive(self, policy: str | None) -> None:
        """Say that SQS takes messages away before their attempts are spent, if it does."""
        most = most_received(policy)
        attempts = most_attempts(self.processor)
        if most is not None and most < attempts:
            logger.warning(
                "the redrive policy of %s moves a message away after %d deliveries, before the %d"
                " attempts of a Retry are spent; raise its maxReceiveCount",
                *(self._queue.name, most, attempts),
            )

    def close(self) -> None:
        """At the end of a run: give back what was not handled, and send what is unsent."""
        if self.reconnecting and not self.ending:
            return  # calls need no connection that lasts, and leases survive
        session, self._session = self._session, None
        self._was_open = False
        if session is not None:
            session.close()

    @contextmanager
    def _judging(self, *, running: bool = True) -> Generator[None]:
        """Raise what boto3 raises as what it means."""
        try:
            yield
        except BOTO_ERRORS as error:
            self._raise(error, running=running)

    def _raise(self, error: Exception, *, running: bool = True) -> None:
        if not isinstance(error, BOTO_ERRORS):
            raise error  # a fault of the adapter
        try:
            raise_as(error, self, running=running)
        except SQSUnavailable as unavailable:
            if unavailable.expired:
                self._queue.renew()
            raise

    def _running_session(self) -> Session:
        if self._session is None:
            raise SQSUnavailable("the adapter is not connected")
        return self._session

    def _opened(self) -> Session:
        """Return the session, unless one of its calls has failed."""
        session = self._running_session()
        error = session.take_error()
        if error is not None:
            self._raise(error)
        return session

    # Receiving.

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what has come; wait for something if nothing has."""
        session = self._opened()
        taken = session.take(self._is_calm)
        if not taken:
            pause = session.poll()
            if timeout > 0:
                self.wait(min(timeout, pause) if pause else timeout)
                taken = self._opened().take(self._is_calm)
        return taken

    def _is_calm(self) -> bool:
        return len(self.unsettled()) <= self.status().held

    def keepalive(self) -> None:
        """Keep what is in flight from other consumers; during a pause, give back the rest."""
        session = self._opened()
        if self.pauses:
            session.give_back_waiting()
        session.extend()
        session.send()

    # Settling.

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Note what is to be deleted or delivered again; SQS is told of several at once."""
        session = self._running_session()
        for context in batch:
            message: Any = context.delivery
            if context.outcome is Outcome.NACKED:
                session.nack(message, self.retry_after if context.delay is None else context.delay)
            else:
                session.delete(message)
        session.send(partly_full=False)

    def ack(self, message: M) -> None:
        """Note that the message is settled; it is deleted together with others."""
        self._running_session().delete(message.native)

    def nack(self, message: M) -> None:
        """Have the message delivered again ``retry_after`` seconds from now."""
        self._running_session().nack(message.native, self.retry_after)

    def flush(self) -> None:
        """Send what is settled; once the run is ending, also what was not handled."""
        if self._session is None:
            return
        session = self._opened()
        if self.ending:
            session.give_back_waiting()
        session.send()

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have messages that were received and not handled delivered again at once."""
        self._return(deliveries)

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        """Have messages that will not be handled delivered again at once."""
        self._return(deliveries)

    def _return(self, deliveries: Sequence[Delivery | bytes]) -> None:
        if self._session is not None:
            mine = [each for each in deliveries if isinstance(each, SQSMessage)]
            self._session.give_back(mine)
            self._session.send()

    # Probing.

    def lag(self) -> Lag:
        """Return how much waits in the queue; from any thread.

        :raises SQSRefused: the queue is missing, or SQS refuses.
        :raises SQSUnavailable: SQS cannot be asked now.
        """
        names = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        with self._judging(running=False):
            self._queue.find()
            counts = self._queue.attributes(*names)
        waiting, in_flight, delayed = (int(counts.get(name, 0)) for name in names)
        return Lag(waiting, in_flight, delayed, len(self.unsettled()))

    def lag_by_source(self) -> dict[str, int]:
        """Return how many messages of the queue are not settled, those in flight included.

        :raises SQSRefused: the queue is missing, or SQS refuses.
        :raises SQSUnavailable: SQS cannot be asked now.
        """
        lag = self.lag()
        return {self._queue.name: lag.waiting + lag.in_flight + lag.delayed}
