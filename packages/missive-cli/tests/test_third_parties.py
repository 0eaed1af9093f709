"""Adapters and stores of third parties: known to the command once they are installed."""

from __future__ import annotations

import pytest

THIRD_PARTY = """\
import missive


class TickAdapter(missive.polling.PollingAdapter):
    @classmethod
    def from_url(cls, url, message_cls, processor, **options):
        return cls(message_cls, processor, **options)

    def open(self):
        self.ticks = [b'{"label": "greet", "name": "Tick"}']

    def close(self): ...

    def receive(self, timeout):
        if not self.ticks:
            raise missive.polling.EndOfInput
        return [self.ticks.pop()]

    def ack(self, message): ...

    def nack(self, message): ...


class ShoutingDLQ(missive.MemoryDLQ):
    @classmethod
    def from_url(cls, url):
        print("opened", url, flush=True)
        return cls()
"""


@pytest.fixture
def installed(project):
    """A distribution with a scheme for an adapter and one for a store, as pip would install it."""
    (project / "third_party.py").write_text(THIRD_PARTY)
    info = project / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[missive.adapters]\ntick = third_party:TickAdapter\n\n"
        "[missive.dlqs]\nshout = third_party:ShoutingDLQ\n"
    )


@pytest.mark.usefixtures("installed")
def test_their_schemes_are_known(missive):
    """A URL with a third party's scheme gives its adapter, and its store."""
    done = missive(
        *("run", "app:processor", "--from", "tick:", "--message", "json"),
        *("--dlq", "shout:loudly", "--workers", 2),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "opened shout:loudly\nhello Tick\n"
    assert "TickAdapter on tick:" in done.stderr
    assert "ShoutingDLQ shout:loudly" in done.stderr


@pytest.mark.usefixtures("installed")
def test_a_store_of_theirs_is_looked_through(missive):
    """The commands for dead letters take their stores too."""
    done = missive("dlq", "summary", "shout:")
    assert done.returncode == 0
    assert "0 letters in 0 groups" in done.stderr


def test_what_is_not_installed_is_told_with_what_is(missive, refused):
    """Without that distribution the schemes that there are stand in the line."""
    line = refused(missive("run", "app:processor", "--from", "tick:", "--message", "json"))
    assert "no adapter for tick: is installed" in line
    assert "stdin:" in line


FAILING = """\
class TickAdapter:
    def from_url(*args, **options):
        raise ValueError('the password hunter2')


ShoutingDLQ = TickAdapter
"""

BROKEN = """\
import missive

{content}
"""


@pytest.fixture
def break_it(project, installed):
    """Break the distribution that is installed: its module gets another content."""

    def change(content: str) -> None:
        (project / "third_party.py").write_text(BROKEN.format(content=content))

    return change


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero (at "),
        ("def broken(:", "cannot be loaded: SyntaxError"),
        ("raise RuntimeError('too old')", "cannot be loaded: RuntimeError: too old (at "),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3 (at "),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("", "cannot be loaded: AttributeError"),
        ("class TickAdapter: ...\nclass ShoutingDLQ: ...", "has no from_url"),
        (
            FAILING,
            "fails to build it: ValueError at ",
        ),
    ],
)
def test_one_that_cannot_be_used_is_named(missive, refused, break_it, content, expected):
    """Whatever a plugin does wrong is one line with its scheme, entry point and distribution."""
    break_it(content)
    adapter = refused(missive("run", "app:processor", "--from", "tick:", "--message", "json"))
    assert "the adapter for tick: (third_party:TickAdapter of third-party 1.0) " in adapter
    assert expected in adapter
    store = refused(missive("dlq", "summary", "shout:"))
    assert "store for shout: (third_party:ShoutingDLQ of third-party 1.0) " in store
    assert "hunter2" not in adapter + store
