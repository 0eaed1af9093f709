"""The exit codes, and how an error becomes one line and one of them."""

from __future__ import annotations

import enum
import logging
import os
import sys
import traceback
from typing import NoReturn

import click
from missive import (
    ConfigurationError,
    DrainTimeout,
    MissiveError,
    TransportError,
)

from .stopping import StoppedEarly


class ExitCode(enum.IntEnum):
    """What the command's exit code says."""

    #: A clean stop, the end of the input, or a job that was done. Dead letters are no error.
    OK = 0
    #: Processing ended with an error, letters failed again, or messages would go to no one handler.
    FAILED = 1
    #: Something given to the command cannot be used.
    USAGE = 2
    #: The transport could not be reached in time, or refused.
    TRANSPORT = 3
    #: Messages were abandoned at the drain deadline.
    ABANDONED = 4
    #: A process under a supervisor has done its share, and wants to be replaced.
    RECYCLED = 5
    #: Ctrl-C before there was anything to stop cleanly; 128 and the signal, as shells have it.
    INTERRUPTED = 130
    #: The reader of the output went away; 128 and the signal, as shells have it.
    BROKEN_PIPE = 141


class ReaderGone(Exception):
    """The reader of the output went away. click takes a BrokenPipeError for itself, so not that."""


class Failed(click.ClickException):
    """What the command set out to do failed; its text is safe to show."""

    exit_code = ExitCode.FAILED


class CannotServe(click.ClickException):
    """A server could not begin to listen; the text is safe to show."""

    exit_code = ExitCode.TRANSPORT


def code_of(error: BaseException) -> ExitCode:
    """Choose the exit code that stands for an error."""
    if isinstance(error, StoppedEarly):
        return ExitCode.OK
    if isinstance(error, click.FileError):
        return ExitCode.USAGE
    if isinstance(error, click.ClickException):
        return ExitCode(error.exit_code)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return ExitCode.INTERRUPTED
    if isinstance(error, DrainTimeout):
        return ExitCode.ABANDONED
    if isinstance(error, TransportError):
        return ExitCode.TRANSPORT
    if isinstance(error, ConfigurationError):
        return ExitCode.USAGE
    return ExitCode.FAILED


def line_of(error: BaseException) -> str:
    """Say in one line what went wrong, without anything that may hold a message's content.

    Missive's own errors never do. Of any other only the type and the place are told.
    """
    if isinstance(error, click.ClickException):
        text = error.format_message()
        own = type(error) is click.UsageError  # this command's own: it names the remedy itself
        if isinstance(error, click.UsageError) and error.ctx is not None and not own:
            text = f"{text.rstrip('.')} (try {error.ctx.command_path} --help)"
    elif isinstance(error, MissiveError):
        text = f"{type(error).__name__}: {error}"
        if isinstance(error.__cause__, Exception):
            text += f" (by {kind_and_place(error.__cause__)})"
    elif isinstance(error, (KeyboardInterrupt, click.Abort)):
        text = "interrupted"
    elif isinstance(error, StoppedEarly):
        text = "stopped before the first message"
    else:
        text = f"{kind_and_place(error)}; --debug shows the traceback, which may hold content"
    return " ".join(text.split())


def kind_and_place(error: BaseException) -> str:
    """Name an exception's type and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def end(code: int) -> NoReturn:
    """End this process now, whatever its threads do, after what was written is flushed."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream is closed
            continue
    os._exit(code)
