"""Jobs: what a person had done, while it is being done and for a while afterwards."""

from __future__ import annotations

import logging
import secrets
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from missive import DeadLetter, DeadLetterStore, MissiveError
from missive.letters import Action, Choice, utc_now

from .query import key_of

logger = logging.getLogger("missive.web.jobs")

#: How many jobs are remembered, and how many lines of what happened in one.
KEPT, LINES = 50, 200
#: How long a deletion can be undone, in seconds.
UNDO_SECONDS = 60.0
#: What is on record when it begins, and again when it ends.
_ANNOUNCED = ("replay", "canary")


class Line(NamedTuple):
    """What became of one letter, or what is to be said about several.

    :ivar key: what an address calls the letter by; None where there is no one letter.
    """

    key: str | None
    name: str
    text: str
    good: bool = False


class Tried(NamedTuple):
    """A group of which one letter was tried.

    :ivar number: the group's short number.
    """

    number: str
    error: str
    handler: str
    place: str
    letters: int
    outcome: str
    passed: bool


class Job:
    """Something that is done to letters, in a thread of its own.

    :ivar name: what an address calls it by.
    :ivar what: what is done, in a word.
    :ivar which: the letters, in words.
    :ivar total: how many letters there are; None where that is not known.
    :ivar done: how many were dealt with.
    :ivar counts: what became of them.
    :ivar lines: what is worth saying, the latest.
    :ivar state: ``"running"``, ``"done"``, ``"stopped"`` or ``"failed"``.
    :ivar result: what came of it, in words.
    :ivar tried: the groups of a canary.
    :ivar rest: what can be replayed after a canary, and its ids where these were named.
    :ivar plan: the plan that a dry run leaves to be carried out.
    :ivar removed: deleted letters, for as long as that can be undone.
    :ivar ids: the ids that the record of the action names.
    """

    def __init__(self, what: str, which: str, who: str, total: int | None, back: str) -> None:
        self.name = secrets.token_urlsafe(9)
        self.what, self.which, self.who, self.total, self.back = what, which, who, total, back
        self.started: datetime = utc_now()
        self.ended: datetime | None = None
        self.done = 0
        self.counts: dict[str, int] = {}
        self.lines: deque[Line] = deque(maxlen=LINES)
        self.state = "running"
        self.result = ""
        self.tried: list[Tried] = []
        self.rest: Choice | None = None
        self.rest_ids: list[bytes] | None = None
        self.plan = ""
        self.removed: list[DeadLetter] = []
        self.ids: list[bytes] = []
        self.stopping = threading.Event()
        self.over = threading.Event()
        self.stop_work: Callable[[], None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is being done."""
        return not self.over.is_set()

    def stop(self) -> None:
        """Ask it to end after the letter in flight."""
        self.stopping.set()
        stop = self.stop_work
        if stop is not None:
            stop()

    def count(self, name: str, letters: int = 1) -> None:
        """Count letters that were dealt with, by what became of them."""
        self.done += letters
        self.counts[name] = self.counts.get(name, 0) + letters

    def say(self, letter: DeadLetter | None, name: str, text: str, *, good: bool = False) -> None:
        """Add a line."""
        self.lines.append(Line(key_of(letter) if letter is not None else None, name, text, good))

    @property
    def percent(self) -> int:
        """How far it is, of a hundred."""
        if not self.total:
            return 100 if not self.is_running else 0
        return min(100, 100 * self.done // self.total)

    def summary(self) -> str:
        """Return what became of the letters, in words."""
        parts = [f"{count:,} {name}" for name, count in self.counts.items() if count]
        return ", ".join(parts) or "nothing was done"

    def undo_left(self) -> float:
        """Return for how many seconds it can still be undone; 0 where it cannot."""
        if self.ended is None or not self.removed:
            return 0.0
        return max(0.0, UNDO_SECONDS - (utc_now() - self.ended).total_seconds())

    def forget_removed(self) -> None:
        """Let go of deleted letters whose time is over."""
        if self.ended is not None and self.undo_left() <= 0:
            self.removed = []


class Jobs:
    """The jobs of a page. At most one replays at a time: handlers may not expect more.

    :param store: where actions are recorded.
    """

    def __init__(self, store: DeadLetterStore) -> None:
        self._store = store
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, job: Job, work: Callable[[Job], None], *, alone: bool = False) -> Job:
        """Do something in a thread, and record that it was done.

        :param alone: not while another such job runs.
        :returns: the job, or the one that runs already.
        """
        with self._lock:
            replays = [job for job in self._jobs.values() if job.is_running and job.stop_work]
            if alone and replays:
                return replays[0]
            if alone:
                job.stop_work = lambda: None  # it replays, also while it does not yet
            self._jobs[job.name] = job
            for name in [name for name, one in self._jobs.items() if not one.is_running][:-KEPT]:
                del self._jobs[name]
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(
                target=self._run, args=(job, work), name=f"missive-web-{job.what}", daemon=True
            )
            self._threads.append(thread)
        thread.start()
        return job

    def get(self, name: str) -> Job | None:
        """Return a job; None where it is not known here."""
        return self._jobs.get(name)

    def running(self) -> list[Job]:
        """Return the jobs that are being done, and let go of what can be undone no more."""
        for job in list(self._jobs.values()):
            job.forget_removed()
        return [job for job in list(self._jobs.values()) if job.is_running]

    def close(self, patience: float = 30.0) -> None:
        """Ask all jobs to end after the letter in flight, and wait for them.

        :param patience: how long to wait for each, in seconds.
        """
        for job in self.running():
            job.stop()
        for thread in list(self._threads):
            thread.join(patience)

    def _run(self, job: Job, work: Callable[[Job], None]) -> None:
        try:
            if job.what in _ANNOUNCED:  # so that one which is killed is on record
                self._store.record(action_of(job, "began"))
            work(job)
            job.state = "stopped" if job.stopping.is_set() else "done"
            job.result = job.summary()
        except (Exception, SystemExit) as error:  # handlers and hooks are anybody's code
            job.state = "failed"
            job.result = f"{job.summary()}; it ended with {_words(error)}"
            logger.error("%s of %s ended with %s", job.what, job.which, type(error).__name__)
        finally:
            job.ended = utc_now()
        try:
            if job.what != "dry-run":
                self._record(job)
        finally:
            job.over.set()

    def _record(self, job: Job) -> None:
        try:
            self._store.record(action_of(job, job.result))
        except MissiveError as error:
            logger.error("%s could not be recorded: %s", job.what, error)
            job.result += "; this could not be recorded"


def action_of(job: Job, result: str) -> Action:
    """Return the record of a job."""
    letters = job.total if job.total is not None else job.done
    return Action(utc_now(), job.who, job.what, job.which, letters, result, tuple(job.ids))


def _words(error: BaseException) -> str:
    """Name an error: with its text where that is one of Missive's own, which holds no content."""
    if isinstance(error, MissiveError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def time_left(job: Job) -> timedelta | None:
    """Return how long a job will take, by how fast it was so far; None where nothing says so."""
    if not job.is_running or not job.done or not job.total:
        return None
    return (utc_now() - job.started) / job.done * (job.total - job.done)
