"""The pytest plugin; it does nothing where no suite of the kit is collected."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from .contract import PROFILES, Check, ContractBroken, check_of, explain, wanted_by
from .report import Report, describe_check, unrecorded_skips
from .suite import ACCOUNT_PROPERTY

#: The name of the plugin of a run with checks.
NAME = "missive-conformance-kit"
#: The user property of a test report that says which check it is.
CHECK_PROPERTY = "missive_check"
#: Where the kit lies: what called a check is of no interest to the author of an adapter.
HERE = str(Path(__file__).parent)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the kit's options."""
    group = parser.getgroup("missive", "Missive conformance")
    group.addoption(
        "--missive-profile",
        default=os.environ.get("MISSIVE_PROFILE", "quick"),
        metavar="NAMES",
        help="which checks to run: quick, full, stress, faults; several with commas"
        " (default: $MISSIVE_PROFILE, or quick)",
    )
    group.addoption(
        "--missive-handlers",
        metavar="STYLE",
        help="how the checks of adapters write their handlers: plain, async, or batch:N for batches"
        " of up to N messages (default: what a suite says, which is plain)",
    )
    group.addoption(
        "--missive-allow-missing",
        action="store_true",
        help="skip the checks whose broker is missing, instead of failing",
    )
    group.addoption(
        "--missive-report",
        metavar="FILE",
        default="conformance.json",
        help="where to write the report (default: conformance.json)",
    )
    group.addoption(
        "--missive-artefacts",
        metavar="DIR",
        help="where to keep the ledgers of fault runs (default: beside the test's other files)",
    )
    group.addoption(
        "--missive-skips",
        metavar="FILE",
        help="fail where more is skipped than this JSON file records, by class: [ids]",
    )
    group.addoption(
        "--missive-record-skips",
        action="store_true",
        help="write what is skipped to the file of --missive-skips",
    )


def profiles_of(config: pytest.Config) -> list[str]:
    """Return the profiles that were asked for.

    :raises pytest.UsageError: one does not exist.
    """
    asked: str = config.getoption("missive_profile") or "quick"
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in PROFILES:
            raise pytest.UsageError(
                f"--missive-profile: there is no profile {name!r}; there are {', '.join(PROFILES)}"
            )
    return names


class Kit:
    """The plugin of a run that has collected at least one check, or may have had others do so."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.report = Report(profiles_of(config))
        self.complaints: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say which check a report is of, and let a failure speak to the adapter's author."""
        report = yield
        point = _check_of_item(item)
        if point is None:
            return report
        suite = _suite_of(item)
        found = describe_check(suite, point, self.config.getoption("missive_handlers"))
        report.user_properties.append((CHECK_PROPERTY, found))
        if report.failed and call.excinfo is not None:
            report.longrepr = _explain(point, suite.subject().__name__, call.excinfo.value)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Give back what the harnesses of a suite share, after its last check."""
        suite = _suite_of(item)
        if _check_of_item(item) is not None and _suite_of(nextitem) is not suite:
            suite.harness.close_all()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a check; also of one that ran in another process."""
        properties: dict[str, Any] = dict(report.user_properties)
        found = properties.get(CHECK_PROPERTY)
        if found is None:
            return
        if report.when == "teardown":
            self.report.accounts += [
                str(text) for name, text in report.user_properties if name == ACCOUNT_PROPERTY
            ]
        outcome: str = report.outcome
        known = getattr(report, "wasxfail", None)
        if known is not None and report.skipped:
            outcome = "known failure"
        if report.when == "call" or outcome in ("failed", "skipped"):
            self.report.add(found, outcome, known or _detail(report), report.duration)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and compare what was skipped with what may be."""
        if hasattr(self.config, "workerinput") or not self.report.subjects:
            return
        target: str = self.config.getoption("missive_report") or "conformance.json"
        self.report.write(self.config.rootpath / target)
        recorded: str | None = self.config.getoption("missive_skips")
        if recorded is None:
            return
        path = self.config.invocation_params.dir / recorded
        if self.config.getoption("missive_record_skips"):
            skips = {name: sorted(self.report.skipped(name)) for name in self.report.subjects}
            path.write_text(json.dumps(skips, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self.complaints = unrecorded_skips(
            self.report, json.loads(path.read_text(encoding="utf-8"))
        )
        if self.complaints and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the closing summary."""
        if not self.report.subjects:
            return
        terminalreporter.section(f"Missive conformance ({', '.join(self.report.profiles)})")
        for line in self.report.summary():
            terminalreporter.write_line(line)
        for line in self.complaints:
            terminalreporter.write_line(line, red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Listen to what pytest-xdist has collected and run in other processes, where it is used."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Kit(config), NAME)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the profile does not ask for, and mark what is known to fail."""
    found = [(item, _check_of_item(item)) for item in items]
    if not any(point is not None for _, point in found):
        return
    kit = config.pluginmanager.get_plugin(NAME)
    if kit is None:  # else this process distributes the tests, but was asked only to collect them
        kit = Kit(config)
        config.pluginmanager.register(kit, NAME)
    wanted = wanted_by(kit.report.profiles)
    left_out = [item for item, point in found if point is not None and point.profile not in wanted]
    for item, point in found:
        if point is not None:
            _mark_known_failure(item, point)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _mark_known_failure(item: pytest.Item, point: Check) -> None:
    suite = _suite_of(item)
    known: dict[str, str] = dict(suite.known_failures)
    ids = {check.id for name in dir(suite) if (check := check_of(getattr(suite, name, None)))}
    unknown = sorted(set(known) - ids)
    if unknown:
        raise pytest.UsageError(f"{suite.__name__}.known_failures: no check {', '.join(unknown)}")
    if point.id in known:
        item.add_marker(pytest.mark.xfail(reason=known[point.id], strict=True))


def _suite_of(item: pytest.Item | None) -> Any:
    return getattr(item, "cls", None)


def _check_of_item(item: pytest.Item) -> Check | None:
    if _suite_of(item) is None:
        return None
    return check_of(getattr(item, "function", None))


def _explain(point: Check, subject: str, error: BaseException) -> str:
    if isinstance(error, ContractBroken):
        text = explain(point, subject, error.seen)
        return text + _chain(error.__cause__)
    seen = f"{type(error).__name__} was raised: {error}"
    return explain(point, subject, seen) + _chain(error)


def _chain(error: BaseException | None) -> str:
    """Return the traceback of an error that is not the kit's own, from the check on."""
    if error is None:
        return ""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(HERE):
        trace = trace.tb_next
    trace = trace or error.__traceback__
    return "\n\n" + "".join(traceback.format_exception(type(error), error, trace))


def _detail(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    if report.longrepr is None:
        return ""
    lines = [line.strip() for line in str(report.longrepr).splitlines()]
    seen = [line for line in lines if line.startswith("what was seen:")]
    return (seen or lines)[0].removeprefix("what was seen:").strip()
