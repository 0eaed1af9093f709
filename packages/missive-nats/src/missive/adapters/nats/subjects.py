"""The adapter of plain subjects: core NATS, at most once."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from missive import Capabilities, ConfigurationError, Delivery, M
from missive.polling import check_count

from .connected import ConnectedAdapter
from .consumers import check_subjects
from .link import Link
from .messages import SubjectMessage
from .servers import read_servers, split_url

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from nats.aio.msg import Msg

logger = logging.getLogger("missive.adapters.nats.subjects")


class NATSSubjectAdapter(ConnectedAdapter[M]):
    """Reads plain subjects of NATS, at most once: without a subscriber, messages are lost.

    A message's ``source`` is its subject, its ``native`` the :class:`SubjectMessage`.

    :param subjects: the subjects to read, such as ``orders.*`` or ``orders.>``.
    :param queue: the name of a queue group, whose members share the messages. None: each process
        gets all of them.
    :param servers: ``nats://user:password@host:4222``, or ``tls://``; several of one cluster as a
        list, or with commas between the hosts.
    :param pending: how many messages may wait in this process; further messages are lost.
    :param credentials: the path of a credentials file.
    :param nkey: the path of a file with an NKey seed.
    :param tls: settings of TLS, if the system's certificate authorities are not enough.
    :param inbox_prefix: the subject below which the server answers, if permissions limit that.
    :param heartbeat: seconds between signs of life of server and client; after three missing ones
        the connection counts as lost.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.

    :ivar lost: how many messages were lost because too many waited.
    """

    messaging_system = "nats"
    capabilities = Capabilities(
        delivery="at-most-once",
        nack="drop-refused",
        ordering="source",
        headers=True,
        max_bytes=1024 * 1024,  # max_payload, unless the server is told otherwise
        reconnects=True,
    )

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        subjects: Iterable[str] | str,
        queue: str | None = None,
        *,
        servers: str | Iterable[str] = "nats://localhost:4222",
        pending: int = 65536,
        credentials: str | None = None,
        nkey: str | None = None,
        tls: ssl.SSLContext | None = None,
        inbox_prefix: str = "_INBOX",
        heartbeat: float = 5.0,
        **options: Unpack[PollingOptions],
    ) -> None:
        known = read_servers(
            servers,
            credentials=credentials,
            nkey=nkey,
            tls=tls,
            inbox_prefix=inbox_prefix,
            heartbeat=heartbeat,
        )
        super().__init__(message_cls, processor, known, **options)
        name = type(self).__name__
        given = (subjects,) if isinstance(subjects, str) else tuple(subjects)
        self.subjects = check_subjects("subjects", given, name)
        if not self.subjects:
            raise ConfigurationError(f"{name} needs the names of subjects")
        if queue is not None:
            check_subjects("queue", [queue], name)
        check_count(self, "pending", pending)
        self.queue = queue
        self.pending = pending
        self.lost = 0
        self._is_losing = False

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> NATSSubjectAdapter[Any]:
        """Build the adapter from ``nats+subjects://host:4222/?subjects=orders.*&queue=workers``.

        ``tls+subjects://`` is TLS, whose certificate is verified (``cafile``, ``certfile``,
        ``keyfile``). The other keyword arguments may stand in the query too.

        :raises ConfigurationError: the URL cannot be read, or names no subject.
        """
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "subjects": lambda text: [name for name in text.split(",") if name],
            "queue": str,
            "pending": int,
        }
        given: dict[str, Any] = {**split_url(url, readers), **options}
        if "subjects" not in given:
            raise ConfigurationError(f"the URL lacks subjects=…, which {cls.__name__} needs")
        return cls(message_cls, processor, **given)

    def open(self) -> None:
        """Connect and subscribe."""
        with self._noting_loss():
            link = self._connect()
            link.run(self._subscribe(link), gives_up=self._gives_up)
            link.check()

    async def _subscribe(self, link: Link) -> None:
        for subject in self.subjects:
            await link.subscribe(subject, self._on_message, self.queue or "")
        await link.reach()

    async def _on_message(self, msg: Msg) -> None:
        """Take a message, on the link's loop."""
        if len(self._arrivals) + len(self._fresh) < self.pending:
            self._is_losing = False
            self._arrived(SubjectMessage(msg))
            return
        self.lost += 1
        if not self._is_losing:
            self._is_losing = True
            logger.warning(
                "%s loses messages: %d wait, and more come than are handled",
                type(self).__name__,
                self.pending,
            )

    def close(self) -> None:
        """Disconnect."""
        self._hang_up()

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what has come; wait for something if nothing has."""
        with self._noting_loss():
            link = self._connected()
            if not self._arrivals:
                link.check()
            self._wait_for_arrivals(timeout)
        return self._take_arrivals()

    def ack(self, message: M) -> None:
        """Do nothing: NATS keeps nothing that an ack could end."""

    def nack(self, message: M) -> None:
        """Never called: a nack is refused, since NATS cannot deliver again."""
