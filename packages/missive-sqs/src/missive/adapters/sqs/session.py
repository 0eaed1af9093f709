"""The session: what one run receives and has in flight."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from .backoff import Backoff
from .bodies import BodyEncoding
from .errors import BOTO_ERRORS, Kind, code_of, kind_of, said_by
from .leases import Leases
from .order import Order
from .outbox import BATCH, Outbox
from .queue import Queue
from .receivers import Receivers
from .sqs_message import SQSMessage, State

logger = logging.getLogger("missive.adapters.sqs.session")

#: How long the end of a run waits for polls that are under way, in seconds. One that waits for
#: longer is left to itself: what it still brings is given back.
POLLS_END = 1.0
#: How long the end of a run waits until SQS has taken what was settled, in seconds.
OUTBOX_END = 10.0
#: So many batches may wait to be deleted for each receiver; beyond that nothing more is received.
MOST_UNSENT = 4


class Session:
    """Polls the queue, keeps what came from other consumers, and sends what became of it.

    Only the receiving thread calls it, or the one that keeps the transport alive meanwhile.

    :param queue: the queue.
    :param visibility: for how long a message is kept at a time, in seconds.
    :param wait_time: how long a poll waits, in seconds.
    :param batch_size: how many messages a poll asks for.
    :param receivers: how many polls are under way at once.
    :param senders: how many other calls are.
    :param max_deliveries: a message that was received more often is rejected; None: however often.
    :param sns: unwrap notifications of SNS.
    :param encoding: how bodies are encoded.
    :param wake: called when there is something to look at.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        visibility: int,
        wait_time: int,
        batch_size: int,
        receivers: int,
        senders: int,
        max_deliveries: int | None,
        sns: bool,
        encoding: BodyEncoding | None,
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._visibility = visibility
        self._wait_time = wait_time
        self._batch_size = batch_size
        self._max_deliveries = max_deliveries
        self._sns = sns
        self._encoding: BodyEncoding | None = encoding
        self._throttled = Backoff()
        self._most_unsent = MOST_UNSENT * BATCH * receivers
        self._outbox = Outbox(lambda: queue.client, lambda: queue.url, senders, wake)
        self._leases = Leases(self._outbox, visibility)
        suspicious = max_deliveries // 2 if max_deliveries is not None else 2**31
        self._order = Order(max(suspicious, 2))
        self._receivers: Receivers[SQSMessage] = Receivers(
            receivers, self._poll, wake, self._give_back_late
        )

    # Receiving.

    def take(self, is_calm: Callable[[], bool]) -> Sequence[SQSMessage]:
        """Return the messages that have come and may be handled now.

        :param is_calm: returns whether nothing that was returned before is unsettled.
        """
        self._admit()
        if not self._order:
            return ()
        calm = self._order.waits_for_calm and is_calm() and not self._outbox
        return self._order.take(is_calm=calm)

    def _admit(self) -> None:
        """Take in what the polls brought, except what is in flight here already."""
        self._leases.tidy()
        for message in self._receivers.take():
            self._throttled.succeed()
            if self._leases.take(message):
                self._order.add(message)

    def poll(self) -> float:
        """Have the queue polled; return how long not to, where SQS asked for a pause."""
        pause = self._throttled.seconds
        if not pause and len(self._outbox) < self._most_unsent:
            self._receivers.top_up()
        return pause

    def take_error(self) -> Exception | None:
        """Return an error of a call since the last one; throttling pauses the polls instead."""
        error = self._receivers.take_error()
        while error is not None and kind_of(error) is Kind.THROTTLED:
            if self._throttled.fail():
                logger.warning("SQS asks for fewer calls (%s); polling less", said_by(error))
            error = self._receivers.take_error()
        if error is None and self._outbox.errors:
            error = self._outbox.errors.popleft()
        return error

    def renew(self) -> None:
        """Forget the errors of the connection that was lost."""
        self._receivers.renew()
        self._outbox.errors.clear()

    def _poll(self) -> list[SQSMessage]:
        """Make one poll; called in a receiver's thread."""
        answer = self._queue.client.receive_message(
            QueueUrl=self._queue.url,
            MaxNumberOfMessages=self._batch_size,
            VisibilityTimeout=self._visibility,
            WaitTimeSeconds=self._wait_time,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        now = monotonic()
        return [self._message(found, now) for found in answer.get("Messages", ())]

    def _message(self, found: Any, now: float) -> SQSMessage:
        message = SQSMessage(
            self._queue.name,
            found,
            received_at=now,
            visibility=self._visibility,
            is_fifo=self._queue.is_fifo,
            encoding=self._encoding,
            sns=self._sns,
        )
        most, count = self._max_deliveries, message.delivery_count or 1
        if most is not None and count > most:
            times = "1 time" if count == 2 else f"{count - 1} times"
            message.rejection = (f"delivered {times} without being settled", "settling")
        return message

    def _give_back_late(self, messages: Sequence[SQSMessage]) -> None:
        """Give back what a poll brought after the end; called in its thread."""
        entries = [
            {"Id": str(at), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
            for at, message in enumerate(messages)
        ]
        try:
            self._queue.client.change_message_visibility_batch(
                QueueUrl=self._queue.url, Entries=entries
            )
        except BOTO_ERRORS as error:
            logger.warning(
                "%d message(s) came after the end and could not be given back (%s); they are"
                " delivered again in %d s",
                *(len(messages), code_of(error), self._visibility),
            )

    # Settling.

    def delete(self, message: SQSMessage) -> None:
        """Delete a message that is settled."""
        self._order.settled(message)
        self._outbox.delete(message)

    def nack(self, message: SQSMessage, seconds: float) -> None:
        """Have a message delivered again after so many seconds, before those behind it."""
        self._outbox.give_back(message, self._leases.most(message, seconds))
        self.give_back(self._order.returned(message))

    def give_back(self, messages: Iterable[SQSMessage]) -> None:
        """Have messages that were not handled delivered again at once, to any consumer."""
        for message in messages:
            if message.state is State.HELD:
                self._outbox.give_back(message, 0)
                self.give_back(self._order.returned(message))

    def give_back_waiting(self) -> None:
        """Give back what was received and not passed on."""
        self._admit()
        self.give_back(self._order.take_all())

    def extend(self) -> None:
        """Keep what is held from other consumers for longer."""
        self._leases.tidy()
        self._leases.extend()

    def send(self, *, partly_full: bool = True) -> None:
        """Send what waits to be sent.

        :param partly_full: also batches of less than ten.
        """
        self._outbox.send(partly_full=partly_full)

    def close(self) -> None:
        """Give back what was not handled, and send everything that waits to be sent."""
        self._receivers.close(POLLS_END)
        self.give_back_waiting()
        self._outbox.errors.clear()
        if not self._outbox.drain(OUTBOX_END):
            errors = self._outbox.errors
            logger.warning(
                "the settlement of %d message(s) did not reach SQS (%s); SQS delivers them again",
                len(self._outbox),
                said_by(errors[0]) if errors else f"{OUTBOX_END:g} s were not enough",
            )
        self._outbox.close()
