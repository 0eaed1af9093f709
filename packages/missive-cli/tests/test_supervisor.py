"""What the supervisor decides, from one event after the other: no process, and no clock but ours."""

from __future__ import annotations

import pytest
from missive.cli.exits import ExitCode
from missive.cli.supervisor import (
    CRASH_LOOP,
    FIRST_DELAY,
    LONGEST_DELAY,
    READY_WITHIN,
    STEADY,
    Asked,
    Exited,
    Supervisor,
)

PATIENCE = 35.0


class Child:
    """A process that does what the test says."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.told: list[str] = []

    def terminate(self) -> None:
        """Note that it was asked to end."""
        self.told.append("terminate")

    def kill(self) -> None:
        """Note that it was killed."""
        self.told.append("kill")


class Fleet:
    """The processes of a supervisor, and its clock."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.started: list[tuple[int, int]] = []
        self.ready: set[int] = set()
        self.hung: set[int] = set()
        self.forgotten: list[int] = []
        self._pid = 100
        self.supervisor = Supervisor(count, self, PATIENCE, lambda: self.now)
        self.supervisor.begin()

    def start(self, number: int, starts: int) -> Child:
        """Start a process."""
        self.started.append((number, starts))
        self._pid += 1
        return Child(self._pid)

    def is_ready(self, number: int, pid: int) -> bool:
        """Return what the test says."""
        return pid in self.ready

    def is_live(self, number: int, pid: int) -> bool:
        """Return what the test says."""
        return pid not in self.hung

    def forget(self, number: int) -> None:
        """Note it."""
        self.forgotten.append(number)

    def child(self, number: int) -> Child:
        """Return the process that runs in a slot."""
        child: Child = self.supervisor.slots[number].child
        return child

    def exits(self, number: int, code: int) -> None:
        """Let a process end."""
        self.supervisor.handle(Exited(number, code))

    def ask(self, what: str) -> None:
        """Ask for something."""
        self.supervisor.handle(Asked(what))
        self.supervisor.tick()

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.supervisor.tick()

    def get_ready(self, *numbers: int) -> None:
        """Let processes be ready."""
        self.ready |= {self.child(number).pid for number in numbers}
        self.supervisor.tick()


def test_all_processes_are_started_and_the_group_is_ready_when_all_are() -> None:
    """Ready means every process, and no longer once one of them has ended."""
    fleet = Fleet(3)
    assert fleet.started == [(0, 0), (1, 0), (2, 0)]
    fleet.get_ready(0, 1)
    assert not fleet.supervisor.ready.is_set()
    fleet.get_ready(2)
    assert fleet.supervisor.ready.is_set()
    fleet.exits(1, 1)
    fleet.after(0)
    assert not fleet.supervisor.ready.is_set()
    assert fleet.forgotten == [1]


def test_a_process_that_fails_is_started_again_ever_later() -> None:
    """The wait doubles with each failure in a row."""
    fleet = Fleet(2)
    for failure in range(CRASH_LOOP - 1):
        fleet.exits(0, 1)
        delay = FIRST_DELAY * 2**failure
        fleet.after(delay * 0.9)
        assert len(fleet.started) == 2 + failure
        fleet.after(delay * 0.2)
        assert fleet.started[-1] == (0, failure + 1)
    assert not fleet.supervisor.over
    assert FIRST_DELAY * 2**CRASH_LOOP < LONGEST_DELAY


@pytest.mark.parametrize(("code", "exit_code"), [(1, 1), (3, 3), (-11, 139)])
def test_a_crash_loop_stops_all_and_exits_with_the_failure(code: int, exit_code: int) -> None:
    """After so many failures in a row the others drain, and the exit code is not 0."""
    fleet = Fleet(2)
    for _ in range(CRASH_LOOP):
        fleet.exits(0, code)
        fleet.after(LONGEST_DELAY)
    assert fleet.child(1).told == ["terminate"]
    fleet.exits(1, 0)
    assert fleet.supervisor.over
    assert fleet.supervisor.code == exit_code


def test_a_failure_after_a_long_life_is_no_loop() -> None:
    """A process that fails once an hour is started again for ever, without a growing wait."""
    fleet = Fleet(1)
    for _ in range(3 * CRASH_LOOP):
        fleet.after(STEADY + 1)
        fleet.exits(0, 1)
        fleet.after(2 * FIRST_DELAY)
    assert len(fleet.started) == 3 * CRASH_LOOP + 1


def test_a_clean_end_breaks_the_row_of_failures() -> None:
    """A process that is killed now and then between restarts and recycling is in no crash loop."""
    fleet = Fleet(1)
    for _ in range(2 * CRASH_LOOP):
        fleet.exits(0, -9)
        fleet.after(2 * FIRST_DELAY)
        fleet.exits(0, ExitCode.RECYCLED)
        fleet.ask("restart")
        fleet.exits(0, 0)
        fleet.get_ready(0)
    assert len(fleet.started) == 1 + 3 * 2 * CRASH_LOOP


def test_a_usage_error_is_not_tried_again() -> None:
    """What cannot be used now cannot be used in a second either."""
    fleet = Fleet(2)
    fleet.exits(0, ExitCode.USAGE)
    assert fleet.child(1).told == ["terminate"]
    fleet.exits(1, ExitCode.USAGE)
    assert (fleet.supervisor.over, fleet.supervisor.code) == (True, ExitCode.USAGE)
    assert len(fleet.started) == 2


def test_a_recycled_process_is_replaced_at_once() -> None:
    """It did what it was told to, so that it has not failed."""
    fleet = Fleet(1)
    for starts in range(2 * CRASH_LOOP):
        fleet.exits(0, ExitCode.RECYCLED)
        assert fleet.started[-1] == (0, starts + 1)


def test_processes_whose_input_ends_end_the_group() -> None:
    """A process that ends well is not replaced; the last of them ends it all, with 0."""
    fleet = Fleet(2)
    fleet.exits(0, 0)
    assert not fleet.supervisor.over
    fleet.exits(1, 0)
    assert (fleet.supervisor.over, fleet.supervisor.code) == (True, 0)


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [((0, -15), 0), ((0, ExitCode.RECYCLED), 0), ((0, 4), 4), ((-9, 0), 4), ((1, 0), 1)],
)
def test_a_stop_drains_all(codes: tuple[int, int], exit_code: int) -> None:
    """Each is asked once, none is started again, and a drain that failed is in the exit code."""
    fleet = Fleet(2)
    children = [fleet.child(0), fleet.child(1)]
    fleet.ask("stop")
    assert [child.told for child in children] == [["terminate"]] * 2
    for number, code in enumerate(codes):
        fleet.exits(number, code)
    fleet.after(LONGEST_DELAY)
    assert (fleet.supervisor.over, fleet.supervisor.code) == (True, exit_code)
    assert len(fleet.started) == 2


def test_a_stop_does_not_wait_for_what_would_be_started_later() -> None:
    """A process that waits for its next start is not started any more."""
    fleet = Fleet(1)
    fleet.exits(0, 1)
    fleet.ask("stop")
    assert (fleet.supervisor.over, fleet.supervisor.code) == (True, 0)


def test_a_process_that_does_not_end_is_killed_once() -> None:
    """After its drain and some seconds more."""
    fleet = Fleet(1)
    child = fleet.child(0)
    fleet.ask("stop")
    fleet.after(PATIENCE - 1)
    assert child.told == ["terminate"]
    fleet.after(1)
    fleet.after(PATIENCE)
    assert child.told == ["terminate", "kill"]


def test_a_second_stop_kills() -> None:
    """As a second signal to a single run ends it without the drain."""
    fleet = Fleet(2)
    children = [fleet.child(0), fleet.child(1)]
    fleet.ask("stop")
    fleet.exits(0, 0)
    fleet.ask("stop")
    assert [child.told for child in children] == [["terminate"], ["terminate", "kill"]]


def test_a_rolling_restart_takes_one_after_the_other() -> None:
    """The next is stopped when the one before it is ready again, so that all but one go on."""
    fleet = Fleet(3)
    fleet.get_ready(0, 1, 2)
    old = [fleet.child(number) for number in range(3)]
    fleet.ask("restart")
    for number in range(3):
        assert [child.told for child in old] == [
            ["terminate"] if other <= number else [] for other in range(3)
        ]
        fleet.exits(number, 0)
        fleet.after(1)
        assert fleet.started[-1] == (number, 1)
        fleet.get_ready(number)
    assert all(not fleet.child(number).told for number in range(3))
    assert not fleet.supervisor.over


@pytest.mark.parametrize("how", ["fails", "is never ready"])
def test_a_rolling_restart_ends_at_code_that_does_not_start(how: str) -> None:
    """Where the new process fails or does not get ready, the others keep the old code."""
    fleet = Fleet(2)
    fleet.get_ready(0, 1)
    fleet.ask("restart")
    fleet.exits(0, 0)
    if how == "fails":
        fleet.exits(0, 1)
    fleet.after(READY_WITHIN)
    fleet.after(READY_WITHIN)
    assert not fleet.child(1).told


def test_a_stop_ends_a_rolling_restart() -> None:
    """Nothing is started any more."""
    fleet = Fleet(2)
    fleet.get_ready(0, 1)
    fleet.ask("restart")
    fleet.ask("stop")
    fleet.exits(0, 0)
    fleet.exits(1, 0)
    fleet.ask("restart")
    assert fleet.supervisor.over
    assert len(fleet.started) == 2


def test_a_restart_passes_over_what_does_not_run() -> None:
    """A process that waits for its next start has the new code then."""
    fleet = Fleet(2)
    fleet.get_ready(0, 1)
    fleet.exits(0, 1)
    fleet.ask("restart")
    assert fleet.child(1).told == ["terminate"]


def test_a_process_that_makes_no_progress_is_restarted() -> None:
    """One that says itself that it is not live is stopped, and another takes its place."""
    fleet = Fleet(2)
    fleet.hung.add(fleet.child(1).pid)
    fleet.after(1)
    assert fleet.child(1).told == ["terminate"]
    fleet.exits(1, -9)
    assert fleet.started[-1] == (1, 1)


def test_the_loop_runs_until_the_last_process_has_ended() -> None:
    """``run`` handles the events of other threads in its own."""
    fleet = Fleet(1)
    fleet.supervisor.slots[0].child = None
    fleet.supervisor.restart()
    fleet.supervisor.stop()
    fleet.supervisor.events.put(Exited(0, 0))
    assert fleet.supervisor.run() == 0
