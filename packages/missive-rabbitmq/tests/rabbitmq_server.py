"""A RabbitMQ server of the tests' own, on free loopback ports, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pika
from patience import DEADLINE
from pika.exceptions import AMQPError
from servers import free_port, start_server

#: Answers each name of a queue with the number of its messages; AMQP tells of those that are ready
#: alone, and the server's own tool takes a second to start.
_COUNT = """
Loop = fun Loop() ->
  case io:get_line("") of
    eof -> halt();
    Line ->
      Name = string:trim(Line),
      Id = {list_to_atom("%2F_" ++ Name), NODE},
      Total = fun rabbit_fifo:query_messages_total/1,
      Quorum = rpc:call(NODE, ra, leader_query, [Id, Total]),
      Count = case Quorum of
        {ok, {_, Number}, _} -> Number;
        _ ->
          Resource = {resource, <<"/">>, queue, list_to_binary(Name)},
          case rpc:call(NODE, rabbit_amqqueue, lookup, [Resource]) of
            {ok, Queue} when element(1, Quorum) == error; element(1, Quorum) == timeout ->
              case rpc:call(NODE, amqqueue, get_type, [Queue]) of
                rabbit_quorum_queue -> -1;
                _ ->
                  [{messages, Other}] =
                    rpc:call(NODE, rabbit_amqqueue, info, [Queue, [messages]]),
                  Other
              end;
            _ -> -2
          end
      end,
      io:format("~p~n", [Count]),
      Loop()
  end
end,
Loop().
"""


def _erlang() -> str:
    return shutil.which("erl") or "/usr/lib/erlang/bin/erl"


def find_server() -> str | None:
    """Return the server's program: ``$MISSIVE_RABBITMQ_SERVER``, that of Debian, or from the PATH."""
    debian = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    chosen = os.environ.get("MISSIVE_RABBITMQ_SERVER")
    return chosen or (debian if Path(debian).exists() else shutil.which("rabbitmq-server"))


class RabbitMQServer:
    """A server that a test may stop, kill, pause and start again on the same port.

    :param program: the server's program.
    :param folder: where it keeps its files.
    :param settings: lines of its configuration file, by name.
    """

    def __init__(
        self, program: str, folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.program = program
        self.folder = folder
        self.port, self._dist_port, self._epmd_port = free_port(), free_port(), free_port()
        self.node = f"missive{self.port}@localhost"
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._beam: int | None = None
        self._probe: subprocess.Popen[str] | None = None
        self._probing = threading.Lock()

    @property
    def url(self) -> str:
        """The URL of the server, with a heartbeat short enough for tests."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/?heartbeat=2"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server and its tools: all its own."""
        return {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        """Start the server, and return when it serves."""
        settings = {"listeners.tcp.local": f"127.0.0.1:{self.port}", **self.settings}
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        self.folder.joinpath("rabbitmq.conf").write_text("".join(lines))
        self.folder.joinpath("plugins").write_text("[].")
        log = self.folder / "server.log"
        self.process = start_server([self.program], self._serves, log, env=self.environment)
        self._beam = _child_named(self.process.pid, "beam")

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self) -> None:
        """End the server in an orderly way, and the port mapper that it started."""
        self._end(signal.SIGTERM)
        for process in _processes():
            if _environment_has(process, f"ERL_EPMD_PORT={self._epmd_port}"):
                os.kill(process, signal.SIGTERM)

    def down(self) -> None:
        """End the server in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once."""
        self._end(signal.SIGKILL)

    def _end(self, signum: int) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        self._end_probe()
        if self._beam is not None:
            if signum != signal.SIGKILL:
                self.signal(signal.SIGCONT)
            self.signal(signum)
        else:
            process.kill()
        process.wait(DEADLINE)
        self._beam = None

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.kill()
            self._probe.wait()
            assert self._probe.stdin is not None
            assert self._probe.stdout is not None
            self._probe.stdin.close()
            self._probe.stdout.close()
            self._probe = None

    def signal(self, signum: int) -> None:
        """Send the server's own process a signal, such as SIGSTOP."""
        assert self._beam is not None
        os.kill(self._beam, signum)

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; return what it says."""
        tool = Path(self.program).with_name("rabbitmqctl")
        program = str(tool) if tool.exists() else "rabbitmqctl"
        run = subprocess.run(
            [program, "-q", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def messages(self, queue: str) -> int:
        """Count the messages that a queue has: waiting, or delivered and unsettled."""
        with self._probing:
            return self._messages(queue)

    def _messages(self, queue: str) -> int:
        assert self.process is not None, "the server is down"
        if self._probe is None:
            self._probe = subprocess.Popen(
                [
                    *(_erlang(), "-noshell", "-sname", f"probe{self.port}@localhost", "-hidden"),
                    *("-eval", _COUNT.replace("NODE", f"'{self.node}'")),
                ],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        assert self._probe.stdin is not None
        assert self._probe.stdout is not None
        deadline = time.monotonic() + DEADLINE
        while True:
            self._probe.stdin.write(f"{queue}\n")
            count = int(self._probe.stdout.readline())
            if count >= 0:
                return count
            # No leader is elected yet, or the queue is not there yet.
            assert time.monotonic() < deadline, f"nobody knows the queue {queue}"
            time.sleep(0.05)

    def client(self) -> Client:
        """Return a client, to publish and to look."""
        return Client(f"amqp://guest:guest@127.0.0.1:{self.port}/?heartbeat=0")


class Client:
    """Publishes to queues, and counts what is in them."""

    def __init__(self, url: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def queue(self, kind: str = "classic", name: str | None = None, **arguments: Any) -> str:
        """Make a durable queue, of a name of its own unless one is given; empty in any case."""
        name = f"q-{uuid.uuid4().hex[:12]}" if name is None else name
        self.channel.queue_delete(name)
        given = {"x-queue-type": kind, **{k.replace("_", "-"): v for k, v in arguments.items()}}
        self.channel.queue_declare(name, durable=True, arguments=given)
        return name

    def publish(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        """Publish messages, and return when the broker has them."""
        for body in bodies:
            self.channel.basic_publish(
                "", queue, body, pika.BasicProperties(delivery_mode=2, **properties)
            )

    def ready(self, queue: str) -> int:
        """Count the messages that wait in a queue."""
        count: int = self.channel.queue_declare(queue, passive=True).method.message_count
        return count

    def drained(self, queue: str) -> list[bytes]:
        """Take everything out of a queue."""
        bodies = []
        while True:
            method, _, body = self.channel.basic_get(queue, auto_ack=True)
            if method is None:
                return bodies
            bodies.append(body)

    def close(self) -> None:
        """Disconnect."""
        with suppress(AMQPError):  # the server may have gone
            self.connection.close()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _environment_has(process: int, setting: str) -> bool:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return False
    return setting.encode() in environment.split(b"\0")


def _child_named(parent: int, name: str) -> int | None:
    """Return the process of a name below another."""
    for process in _processes():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")
        except OSError:
            continue
        if int(fields[2].split()[1]) == parent:
            if name in fields[0]:
                return process
            below = _child_named(process, name)
            if below is not None:
                return below
    return None
