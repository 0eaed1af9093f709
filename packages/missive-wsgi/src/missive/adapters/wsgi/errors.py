"""Errors of the WSGI adapter, beside those of core."""

from __future__ import annotations

from missive import TransportError


class CannotListen(TransportError):
    """The development server cannot have its address; ``__cause__`` says why.

    :ivar host: the host.
    :ivar port: the port.
    """

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {why}; give run() a host of this machine and a"
            " port that is free, such as port=0 for any"
        )
        self.host = host
        self.port = port
