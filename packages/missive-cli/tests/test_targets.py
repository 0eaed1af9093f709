"""Where a program lies, and what ``MODULE:NAME`` may name."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HELLO = '{"label": "greet", "name": "Ada"}'

FACTORIES = """\
import missive
from app import adapter, processor


def make_adapter():
    return adapter


def make_processor(*, debug=False):
    return processor


def make_with(connection):
    return adapter


def make_nothing():
    return 42


def fail():
    raise RuntimeError("no database")


async def make_later():
    return adapter


class Settings:
    def __call__(self):
        return adapter


settings = Settings()
"""


@pytest.fixture
def factories(project):
    """A module with functions that make adapters and processors."""
    (project / "factories.py").write_text(FACTORIES)


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    "args",
    [
        ("factories:make_adapter",),
        ("factories:make_adapter", "--factory"),
        ("factories:make_processor", "--from", "stdin:", "--message", "json"),
        ("factories:settings", "--factory"),
    ],
)
def test_a_factory_makes_the_target(missive, args):
    """A function that takes nothing is called; anything else that can be is with ``--factory``."""
    done = missive("run", *args, input=HELLO)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n"), done.stderr


@pytest.mark.usefixtures("factories")
def test_the_other_commands_take_factories(missive):
    """A factory is a target wherever an adapter is."""
    assert "app.greet" in missive("handlers", "factories:make_processor").stdout
    assert "app.greet" in missive("explain", "factories:make_adapter", input=HELLO).stdout


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("factories:make_with",), "takes arguments (connection)"),
        (("factories:make_nothing",), "the factory factories:make_nothing returned an int"),
        (("factories:fail",), "RuntimeError: no database (at "),
        (("factories:make_later",), "is a coroutine function"),
        (("factories:adapter", "--factory"), "so --factory cannot call it"),
        (("app:greet",), "takes arguments (message, ctx)"),
    ],
)
def test_what_is_no_factory_is_refused(missive, refused, args, expected):
    """One line says why a target cannot be called, or what it made."""
    assert expected in refused(missive("run", *args))


def test_a_src_layout_runs_from_its_root(missive, project):
    """A package in ``src`` is found where there is none of its name anywhere else."""
    package = project / "src" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text("from app import adapter\n")
    done = missive("run", "shop.main:adapter", input=HELLO)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n"), done.stderr


def test_app_dir_names_the_folder_of_the_program(missive, project):
    """``--app-dir`` stands in for the working directory, which is left alone."""
    elsewhere = project / "code"
    elsewhere.mkdir()
    (project / "app.py").rename(elsewhere / "app.py")
    done = missive("run", "app:adapter", "--app-dir", "code", input=HELLO)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n"), done.stderr
    assert "app.greet" in missive("handlers", "app:processor", "--app-dir", elsewhere).stdout


def test_a_missing_module_names_the_folders_and_app_dir(missive, refused, project):
    """One line says which folders were searched, and how to name another."""
    (project / "src").mkdir()
    line = refused(missive("run", "shop:adapter"))
    assert "there is no module shop" in line
    assert str(project / "src") in line
    assert "--app-dir" in line


@pytest.mark.parametrize("target", ["json:adapter", "json.app:adapter", "sys:adapter"])
def test_a_module_that_pythons_own_hides_is_named_with_its_file(project, target):
    """Where Python's module of the same name was imported, both are named."""
    name = target.partition(":")[0].partition(".")[0]
    (project / f"{name}.py").write_text("from app import adapter\n")
    # Not as ``-m``, which would have the whole command import the user's module as Python's.
    program = (
        "import sys; sys.path[:] = filter(None, sys.path);"
        " import json, missive.cli; missive.cli.main()"
    )
    command = [sys.executable, "-c", program, "run", target]
    done = subprocess.run(
        command,
        cwd=project,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": ""},
    )
    assert done.returncode == 2
    assert f"hides {project / name}.py" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (".app:adapter", "as in app:adapter"),
        ("..:adapter", "as in app:adapter"),
        ("shop..app:adapter", "is not the name of a module"),
        ("app.:adapter", "is not the name of a module"),
    ],
)
def test_what_is_no_modules_name_is_refused(missive, refused, target, expected):
    """A relative or broken name is refused with what to write."""
    assert expected in refused(missive("run", target))


def test_a_working_directory_that_was_deleted_is_named(project):
    """One line says that there is no working directory any more."""
    script = Path(sysconfig.get_path("scripts")) / "missive"
    for more, code in (("", 2), (f"--app-dir {project}", 0)):
        (project / "gone").mkdir()
        done = subprocess.run(
            f"cd gone && rmdir ../gone && exec {script} handlers app:adapter {more}",
            shell=True,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == (1 if code else 0)
        assert ("the working directory was deleted" in done.stderr) is bool(code)
