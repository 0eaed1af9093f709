# pika has no types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The link: a connection of pika's that moves only when it is told to, with one main channel."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from pika import exceptions
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.connection import Parameters

from . import quiet
from .errors import PIKA_ERRORS, RabbitMQUnavailable

#: The longest step while an answer is awaited, after which ``stop`` is noticed, in seconds.
STEP = 0.05
#: How long an answer of the broker may take, and how long the farewell, in seconds.
ANSWER_TIMEOUT, CLOSE_TIMEOUT = 30.0, 2.0


class SteppedLoop(IOLoop):  # type: ignore[misc]
    """pika's I/O loop, moved on step by step.

    It knows which sockets pika waits for, so that an adapter can wait for them beside its own
    wake-up call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[int, int] = {}
        self.activate_poller()

    def add_handler(self, fd: int, handler: Callable[[int, int], None], events: int) -> None:
        """Watch a file descriptor."""
        self._watched[fd] = events
        super().add_handler(fd, handler, events)

    def update_handler(self, fd: int, events: int) -> None:
        """Change the events that are watched."""
        self._watched[fd] = events
        super().update_handler(fd, events)

    def remove_handler(self, fd: int) -> None:
        """Watch a file descriptor no more."""
        self._watched.pop(fd, None)
        super().remove_handler(fd)

    @property
    def readable(self) -> int | None:
        """The one socket that is waited for to be read; None where there is not exactly one."""
        return next(iter(self._watched)) if len(self._watched) == 1 else None

    @property
    def writes(self) -> bool:
        """Whether something waits to be written."""
        return any(events & IOLoop.WRITE for events in self._watched.values())

    def step(self, longest: float = 0.0) -> None:
        """Do what can be done; wait for something at most so many seconds."""
        quiet.enter()
        try:
            end = self.call_later(longest, _nothing)
            self.poll()
            self.remove_timeout(end)
            self.process_timeouts()
        finally:
            quiet.leave()


def _nothing() -> None:
    """Do nothing: the end of a step."""


class Link:
    """A connection to the broker with one channel, for one thread at a time.

    Between two calls nothing happens, heartbeats included.

    :param parameters: where and as whom to connect.
    :param gives_up: returns whether to give up connecting, as after ``stop``.
    :raises AMQPError: it cannot be opened.

    :ivar channel: the channel to consume on.
    """

    def __init__(self, parameters: Parameters, gives_up: Callable[[], bool]) -> None:
        quiet.install()
        self._loop = SteppedLoop()
        self._gives_up = gives_up
        self._failure: BaseException | None = None
        self._closed_channels: dict[int, BaseException] = {}
        self._is_open = self._is_closed = False
        self._connection = SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._loop,
        )
        try:
            self._wait_for(lambda: self._is_open)
            self.channel = self.open_channel()
        except BaseException:
            self.close()
            raise

    def _on_open(self, connection: object) -> None:
        self._is_open = True

    def _on_closed(self, connection: object, reason: BaseException) -> None:
        self._is_closed = True
        if self._failure is None:
            self._failure = reason

    @property
    def server_version(self) -> str:
        """The version of the broker, such as ``3.10.8``; empty where it does not say."""
        said: Any = self._connection.server_properties or {}
        version = said.get("version", "")
        return version.decode() if isinstance(version, bytes) else str(version)

    @property
    def is_alive(self) -> bool:
        """Whether connection and channel are open, as far as is known."""
        return not self._is_closed and self._failure is None and self.channel.is_open

    # Calls and answers.

    def open_channel(self) -> Channel:
        """Open another channel, for what may fail."""
        opened: list[Channel] = []
        channel = self._connection.channel(on_open_callback=opened.append)
        self._closed_channels.pop(channel.channel_number, None)
        channel.add_on_close_callback(self._on_channel_closed)
        self._wait_for(lambda: bool(opened))
        return channel

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        self._closed_channels[channel.channel_number] = reason

    def call(self, channel: Channel, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of a channel and wait for the answer.

        :raises AMQPError: the connection is lost, or the channel was closed instead.
        """
        answers: list[Any] = []
        getattr(channel, method)(*arguments, callback=answers.append, **options)
        number = channel.channel_number
        self._wait_for(lambda: bool(answers) or number in self._closed_channels)
        if not answers:
            raise self._closed_channels[number]
        return answers[0]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds.

        :raises AMQPError: the connection or its channel was lost before.
        """

        def holds_or_lost() -> bool:
            return holds() or not self.channel.is_open

        self._wait_for(holds_or_lost)
        self.check()

    def _wait_for(self, holds: Callable[[], bool], seconds: float = ANSWER_TIMEOUT) -> None:
        deadline = monotonic() + seconds
        while not holds():
            if self._failure is not None:
                raise self._failure
            if not self._is_open and self._gives_up():
                raise RabbitMQUnavailable("given up while connecting")
            if monotonic() >= deadline:
                raise RabbitMQUnavailable(f"no answer within {seconds:g} s")
            self._loop.step(STEP)

    # Moving on.

    def check(self) -> None:
        """Raise what the connection or its channel was lost by.

        :raises AMQPError: it was lost.
        """
        if self._failure is not None:
            raise self._failure
        reason = self._closed_channels.get(self.channel.channel_number)
        if reason is not None:
            raise reason

    def step(self) -> None:
        """Read and write what can be without waiting, and send the heartbeats that are due.

        :raises AMQPError: the connection or its channel was lost.
        """
        self._loop.step()
        self.check()

    def wait(self, timeout: float, wait_for: Callable[[float, int], bool]) -> None:
        """Wait until there is something to read, then read it.

        :param wait_for: waits so many seconds for a socket to be readable, or less.
        """
        readable = self._loop.readable
        if readable is None or self._loop.writes:
            self._loop.step(min(timeout, STEP))
        else:
            wait_for(timeout, readable)
        self.step()

    def close(self) -> None:
        """Take leave, from any state. What was written before has reached the broker then."""
        try:
            if not self._is_closed:
                with suppress(exceptions.ConnectionWrongStateError):
                    self._connection.close()
                self._step_until_closed()
            if not self._is_closed:
                self._cut()
                self._step_until_closed()
        finally:
            self._loop.close()

    def _step_until_closed(self) -> None:
        deadline = monotonic() + CLOSE_TIMEOUT
        while not self._is_closed and monotonic() < deadline:
            with suppress(*PIKA_ERRORS):
                self._loop.step(STEP)

    def _cut(self) -> None:
        """Have pika find the stream closed, where the other side is silent."""
        readable = self._loop.readable
        if readable is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(readable)) as stream:
                stream.shutdown(socket.SHUT_RDWR)
