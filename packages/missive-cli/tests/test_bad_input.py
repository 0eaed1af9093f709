"""Bad input everywhere: one line, the remedy, exit code 2; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from missive.cli.schemes import masked

RUN_PROCESSOR = ("run", "app:processor", "--from", "stdin:", "--message")


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        (("run",), "run --help)"),
        (("run", "app:adapter", "--no-such-option"), "--no-such-option"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("run", "adapter"), "give MODULE:NAME"),
        (("run", "app.py:adapter"), "give its module: app:adapter"),
        (("run", "nothere:adapter"), "no module nothere"),
        (("run", "app:nothere"), "it has processor, adapter"),
        (("run", "app:not_an_adapter"), "is an int, not an adapter or a processor"),
        (("run", "app:processor"), "--from stdin:"),
        (("run", "app:processor", "--from", "stdin:"), "--message json, raw or MODULE:CLASS"),
        ((*RUN_PROCESSOR, "xml"), "give json, raw or MODULE:CLASS"),
        ((*RUN_PROCESSOR, "app:not_an_adapter"), "not callable"),
        ((*RUN_PROCESSOR, "app:Path"), "not a subclass of missive.Message"),
        ((*RUN_PROCESSOR, "raw", "--dlq", "carrier-pigeon:"), "no store for carrier-pigeon:"),
        ((*RUN_PROCESSOR, "raw", "--workers", "0"), "--workers"),
        ((*RUN_PROCESSOR, "raw", "--workers", "4", "--max-in-flight", "2"), "max_in_flight=2"),
        (("run", "app:processor", "--from", "stdin:?wrokers=2", "--message", "raw"), "wrokers"),
        (("run", "app:processor", "--from", "no-scheme", "--message", "raw"), "no scheme"),
        (("run", "app:adapter", "--from", "stdin:"), "--from can only be given with a processor"),
        (("run", "app:adapter", "--workers", "2"), "--workers can only be given with"),
        (("run", "app:adapter", "--health-file", "no/such/folder/f"), "health file"),
        (("handlers", "app:not_an_adapter"), "it has processor, adapter"),
        (("explain", "app:processor"), "--message json, raw or MODULE:CLASS"),
        (("explain", "app:adapter", "--message", "raw"), "omit --message"),
        (("explain", "app:adapter", "no-such-file"), "no-such-file"),
        (("explain", "app:adapter", "-", "--dlq", "memory:"), "not both"),
    ],
)
def test_is_refused_in_one_line(missive, refused, args, remedy):
    """What cannot be used is named in one line with the remedy."""
    done = missive(*args)
    lines = done.stderr.splitlines()
    if "--health-file" in args:  # found when the run begins, after the report
        done.stderr = lines[-1]
    assert remedy in refused(done)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("import nowhere_to_be_found", "imports nowhere_to_be_found, which is not installed"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "ends the program when it is imported"),
    ],
)
def test_a_module_that_cannot_be_imported_names_the_line(
    missive, refused, project, content, expected
):
    """An error in the user's module is one line that says what and where."""
    (project / "faulty.py").write_text(f"# A faulty module.\n{content}\n")
    line = refused(missive("run", "faulty:adapter"))
    assert expected in line
    assert "faulty.py:2" in line


@pytest.mark.parametrize("command", [(), ("dlq",)])
def test_a_command_alone_shows_its_help(missive, command):
    """Who gives no command is shown the help as ``--help`` shows it."""
    done = missive(*command)
    shown = done.stderr or done.stdout  # before click 8.2 it was no error
    assert shown == missive(*command, "--help").stdout
    assert done.returncode == (2 if done.stderr else 0)


def test_debug_shows_where_a_refusal_came_from(missive, project):
    """``--debug`` shows the traceback of whatever went wrong, the one line last."""
    (project / "faulty.py").write_text("1 / 0\n")
    done = missive("run", "faulty:adapter", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("missive: ")


def test_an_adapter_that_does_not_run_is_refused(missive, refused, project):
    """An adapter that only a server can call is no target of run."""
    (project / "served.py").write_text(
        "import missive\n"
        "class Served(missive.Adapter):\n"
        "    def ack(self, message): ...\n"
        "    def nack(self, message): ...\n"
        "served = Served(missive.Processor())\n"
    )
    assert "has no run()" in refused(missive("run", "served:served"))


@pytest.mark.parametrize(
    ("args", "distribution"),
    [
        (("--from", "redis://localhost/0?channels=a"), "missive-redis"),
        (("--from", "redis+streams://localhost/0?streams=a&group=b"), "missive-redis"),
        (("--from", "http://127.0.0.1:8000/hooks"), "missive-wsgi"),
        (("--from", "stdin:", "--dlq", "sqlite:///dead.db"), "missive-dlq-sqlite"),
    ],
)
def test_an_unknown_scheme_names_the_package_to_install(project, refused, args, distribution):
    """A scheme of a distribution that is not installed names the distribution."""
    only_core = (
        "import importlib.metadata as metadata\n"
        "every = metadata.entry_points\n"
        "def only_core(**wanted):\n"
        "    found = every(**wanted)\n"
        "    return metadata.EntryPoints(e for e in found if e.dist.name == 'missive-core')\n"
        "metadata.entry_points = only_core\n"
        "from missive.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", only_core, "run", "app:processor", "--message", "raw", *args],
        cwd=project,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert f"pip install {distribution}" in refused(done)


def test_a_password_in_a_url_is_not_shown():
    """The report shows a URL without its password."""
    assert masked("redis://bob:hunter2@localhost/0?a=b") == "redis://bob:***@localhost/0?a=b"
    assert masked("rediss+streams://:hunter2@localhost/0") == "rediss+streams://:***@localhost/0"
    assert masked("redis://localhost?a=b&password=hunter2&c=d") == (
        "redis://localhost?a=b&password=***&c=d"
    )
    assert masked("redis://localhost?password=hunt#er2&c=d") == "redis://localhost?password=***&c=d"
    for password in ("hunt@er2", "@", "@@hunter2@", "hunt?er2", "h#un@t?er2", "h:u:n@t:er2"):
        for user in ("", "bob", "bob@example.org"):
            shown = f"redis://{user}:***@localhost:6379/0?channels=a@b"
            assert masked(shown.replace("***", password)) == shown
    assert masked("redis://bob@localhost:6379/0") == "redis://bob@localhost:6379/0"
    assert masked("http://[::1]:8000/a@b") == "http://[::1]:8000/a@b"
    assert masked("sqlite:///a:b@c.db") == "sqlite:///a:b@c.db"
