"""The run of a server process: its hooks, its forks, its end, and its many threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from missive import DrainTimeout, MemoryDLQ, RawMessage
from missive.adapters.wsgi import WSGIAdapter

DEADLINE = 10


@pytest.fixture
def hooks(processor):
    """What the processing hooks did, in order."""
    hooks = []
    processor.before_processing(lambda ctx: hooks.append("before"))
    processor.after_processing(lambda ctx: hooks.append("after"))
    return hooks


@pytest.fixture
def adapter(processor, hooks):
    """An adapter whose processor notes its hooks."""
    adapter = WSGIAdapter(RawMessage, processor)
    yield adapter
    adapter.close()


@pytest.fixture
def client(client_of, adapter):
    """A client of that adapter."""
    return client_of(adapter)


class Gate:
    """A handler that waits to be let go on."""

    def __init__(self, processor):
        self.entered = threading.Event()
        self.release = threading.Event()
        processor.handle_for(lambda message: message.raw_data.startswith(b"wait"))(self.handle)

    def handle(self, message, ctx):
        self.entered.set()
        assert self.release.wait(DEADLINE)
        ctx.ack()


def test_hooks_run_once(client, adapter, hooks):
    """Before-hooks run ahead of the first message, after-hooks at close, each once."""
    client.get("/healthz")
    client.get("/readyz")
    client.post(b"ack", "/other")
    assert hooks == []
    for _ in range(3):
        assert client.post(b"ack").status == 200
    assert hooks == ["before"]
    adapter.close()
    adapter.close()
    assert hooks == ["before", "after"]


def test_open(client, adapter, hooks):
    """open() runs the before-hooks ahead of any message, once, and makes the adapter ready."""
    assert not adapter.ready.is_set()
    adapter.open()
    adapter.open()
    assert adapter.ready.is_set()
    client.post(b"ack")
    assert hooks == ["before"]


def test_close_unopened(adapter, hooks):
    """An adapter that saw no message has no hooks to run at its end."""
    adapter.close()
    assert hooks == []


def test_closed(client, adapter, hooks):
    """After close() messages are answered 503 with Retry-After; the process still lives."""
    client.post(b"ack")
    adapter.close()
    answer = client.post(b"ack")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/healthz").status == 200
    assert client.get("/readyz").status == 503
    assert not adapter.ready.is_set()
    assert hooks == ["before", "after"]


def test_state_is_shared(client_of, processor):
    """All requests of a process share one processing state."""
    processor.before_processing(lambda ctx: setattr(ctx.state, "count", 0))

    @processor.handle_for(lambda message: message.raw_data == b"count")
    def count(message, ctx):
        ctx.processing_ctx.state.count += 1
        seen.append(ctx.processing_ctx.state.count)
        ctx.ack()

    seen = []
    adapter = WSGIAdapter(RawMessage, processor)
    for _ in range(3):
        client_of(adapter).post(b"count")
    assert seen == [1, 2, 3]
    adapter.close()


def test_before_hook_fails(client, adapter, processor, hooks, caplog):
    """While a before-hook fails messages are answered 500 and not handled; later they are."""
    failing = [True]

    @processor.before_processing
    def connect(ctx):
        if failing:
            raise ConnectionError("no database")

    answer = client.post(b"ack")
    assert (answer.status, answer.json) == (500, {"result": "error"})
    assert not adapter.ready.is_set()
    assert "ConnectionError" in caplog.text
    failing.clear()
    assert client.post(b"ack").status == 200
    assert adapter.ready.is_set()
    assert hooks == ["before", "after", "before"]


def test_readyz_tries_failing_hooks_again(client, adapter, processor, caplog):
    """/readyz says 503 while a before-hook fails, and 200 when it no longer does."""
    failing = [True]

    @processor.before_processing
    def connect(ctx):
        if failing:
            raise ConnectionError("no database at secret.example")

    assert client.get("/readyz").status == 200  # nobody knows yet
    assert client.post(b"ack").status == 500
    caplog.clear()
    assert client.get("/readyz").status == 503
    assert "not ready: ConnectionError" in caplog.text
    assert "secret" not in caplog.text
    failing.clear()
    assert client.get("/readyz").status == 200
    assert adapter.ready.is_set()


def test_after_hook_fails(client, adapter, processor):
    """What an after-hook raises is raised by close(), once."""
    client.post(b"ack")

    @processor.after_processing
    def disconnect(ctx):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        adapter.close()
    adapter.close()


def test_many_first_messages(client_of, processor):
    """Of many first messages at once none is handled before the before-hooks have finished."""
    ready, together = [], threading.Barrier(2)

    @processor.before_processing
    def before(ctx):
        with pytest.raises(threading.BrokenBarrierError):
            together.wait(0.1)  # for another thread in this hook, which must not come
        ready.append("before")

    @processor.handle_for(lambda message: message.raw_data == b"first")
    def handle(message, ctx):
        assert ready == ["before"]
        ctx.ack()

    adapter = WSGIAdapter(RawMessage, processor)

    def post():
        return client_of(adapter).post(b"first").status

    with ThreadPoolExecutor(8) as pool:
        statuses = [future.result(DEADLINE) for future in [pool.submit(post) for _ in range(8)]]
    assert statuses == [200] * 8
    assert ready == ["before"]
    adapter.close()


def test_open_after_close(adapter, hooks):
    """A request that was held up beyond the end begins nothing anew."""
    adapter.close()
    assert adapter.process.open() is False
    assert hooks == []


def test_not_ready_again_after_stop(client_of, processor):
    """A dead letter written after stop() does not make the adapter ready again."""
    processor.set_dlq(MemoryDLQ())

    @processor.handle_for(lambda message: message.raw_data == b"stop")
    def stop(message, ctx):
        adapter.stop()

    adapter = WSGIAdapter(RawMessage, processor)
    assert client_of(adapter).post(b"stop").json == {"result": "dlq"}
    assert not adapter.ready.is_set()
    adapter.close()


def test_closed_adapters_are_forgotten(client_of, processor):
    """Nothing keeps an adapter that was closed, not even the exit of the process."""
    adapter = WSGIAdapter(RawMessage, processor)
    client_of(adapter).post(b"ack")
    adapter.close()
    forgotten = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert forgotten() is None


def test_each_request_has_its_own_outcome(client_of, processor):
    """Equal messages at once in many threads: each is answered by its own outcome."""
    # Equal in class and id, so that a list of outcomes by message would mix them up.
    adapter = WSGIAdapter(RawMessage, processor, id_header="X-Id")
    processor.set_dlq({})
    expected = {b"ack": "ack", b"nack": "nack", b"raise": "dlq", b"none": "dlq"}

    def post(index):
        body = list(expected)[index % 4]
        client = client_of(adapter)
        return [
            client.post(body, headers={"X-Id": "same"}).json["result"] == expected[body]
            for _ in range(100)
        ]

    with ThreadPoolExecutor(16) as pool:
        assert all(all(right) for right in pool.map(post, range(16)))
    adapter.close()


def test_drain(client_of, processor, hooks):
    """close() lets a message in flight finish, answers others 503 meanwhile, then runs the hooks."""
    gate = Gate(processor)
    adapter = WSGIAdapter(RawMessage, processor)
    client = client_of(adapter)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client_of(adapter).post, b"wait")
        assert gate.entered.wait(DEADLINE)
        adapter.stop()
        closing = pool.submit(adapter.close)
        answer = client.post(b"ack")
        assert (answer.status, client.get("/readyz").status) == (503, 503)
        assert hooks == ["before"]
        assert not closing.done()
        gate.release.set()
        assert waiting.result(DEADLINE).json == {"result": "ack"}
        closing.result(DEADLINE)
    assert hooks == ["before", "after"]


def test_drain_timeout(client_of, processor, hooks):
    """At the deadline close() raises with the ids still in flight, and the hooks run all the same."""
    gate = Gate(processor)
    adapter = WSGIAdapter(RawMessage, processor, drain_timeout=0.01, id_header="X-Id")
    with ThreadPoolExecutor(2) as pool:
        named = pool.submit(client_of(adapter).post, b"wait", headers={"X-Id": "evt\n1"})
        assert gate.entered.wait(DEADLINE)
        gate.entered.clear()
        unnamed = pool.submit(client_of(adapter).post, b"wait")
        assert gate.entered.wait(DEADLINE)
        with pytest.raises(DrainTimeout) as caught:
            adapter.close()
        assert sorted(caught.value.message_ids) == ["0x6576740a31", "a message without an id"]
        assert hooks == ["before", "after"]
        gate.release.set()
        assert {named.result(DEADLINE).status, unnamed.result(DEADLINE).status} == {200}


def test_no_drain_timeout(client_of, processor):
    """With a drain_timeout of infinity close() waits for a message in flight, however long."""
    gate = Gate(processor)
    adapter = WSGIAdapter(RawMessage, processor, drain_timeout=float("inf"))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client_of(adapter).post, b"wait")
        assert gate.entered.wait(DEADLINE)
        adapter.stop()
        closing = pool.submit(adapter.close)
        assert client_of(adapter).post(b"ack").status == 503
        gate.release.set()
        assert waiting.result(DEADLINE).status == 200
        closing.result(DEADLINE)


def test_refused_after_the_body(client_of, adapter, hooks):
    """A message whose body is still coming when the end begins is answered 503, not handled."""

    class Late(BytesIO):
        def read(self, size=-1):
            adapter.stop()
            return super().read(size)

    assert client_of(adapter, Late).post(b"ack").status == 503
    assert hooks == []


def test_dead_letter_store_in_readyz(client, processor, full_store):
    """/readyz says 503 while the DLQ cannot be written, and 200 again when it can."""
    processor.set_dlq(full_store)
    client.app.open()
    assert client.get("/readyz").status == 503
    assert not client.app.ready.is_set()
    full_store.full = False
    answer = client.get("/readyz")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert client.app.ready.is_set()


def test_health(client):
    """The health paths answer GET and HEAD, and nothing else."""
    for path in ("/healthz", "/readyz"):
        assert client.get(path).json == {"status": "ok"}
        head = client.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(client.get(path).body))
        answer = client.post(b"ack", path)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_health_paths_are_configured(client_of, processor):
    """The health paths can be others, or none."""
    client = client_of(WSGIAdapter(RawMessage, processor, health_paths=("/live", "/ready")))
    statuses = [client.get(path).status for path in ("/live", "/ready", "/healthz")]
    assert statuses == [200, 200, 404]
    client = client_of(WSGIAdapter(RawMessage, processor, health_paths=None))
    assert client.get("/healthz").status == 404


PROGRAM = """
    import os, sys
    from io import BytesIO
    from missive import Processor, RawMessage
    from missive.adapters.wsgi import WSGIAdapter

    processor = Processor()

    def say(what):
        os.write(1, f"{what} {'parent' if os.getpid() == parent else 'child'}\\n".encode())

    processor.before_processing(lambda ctx: say("before"))
    processor.after_processing(lambda ctx: say("after"))

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        say(message.raw_data.decode())
        ctx.ack()

    adapter = WSGIAdapter(RawMessage, processor, drain_timeout=5)
    parent = os.getpid()

    def post(body):
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
        }
        adapter(environ, lambda status, headers: None)
"""


def run_program(lines):
    """Run a program that has an adapter; give its lines, its errors and its status."""
    program = textwrap.dedent(PROGRAM) + lines
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr, done.returncode


def test_at_exit():
    """The after-hooks run when the process exits, where nobody called close()."""
    assert run_program("post(b'one')") == (["before parent", "one parent", "after parent"], "", 0)


def test_at_exit_after_close():
    """The after-hooks run once where close() was called before the exit."""
    out, err, status = run_program("post(b'one')\nadapter.close()\nsay('closed')")
    assert (err, status) == ("", 0)
    assert out == ["before parent", "one parent", "after parent", "closed parent"]


FAILING_AFTER_HOOK = """
@processor.after_processing
def disconnect(ctx):
    raise ConnectionError("secret")

post(b"one")
"""


def test_after_hook_fails_at_exit():
    """What an after-hook raises at exit is logged, without a traceback."""
    _, err, _ = run_program(FAILING_AFTER_HOOK)
    assert "ConnectionError" in err
    assert "secret" not in err
    assert "Traceback" not in err


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

FORK = """
if os.fork() == 0:
    post(b"two")
    sys.exit()
os.wait()
"""


@needs_fork
def test_fork_before_the_first_message():
    """An application built before the fork runs its hooks in the child alone."""
    out, err, status = run_program(FORK)
    assert (err, status) == ("", 0)
    assert out == ["before child", "two child", "after child"]


@needs_fork
def test_fork_after_a_message():
    """A child forked from a process that had messages runs hooks of its own, the parent its own."""
    out, err, status = run_program("post(b'one')" + FORK + "post(b'three')")
    assert (err, status) == ("", 0)
    assert out == [
        "before parent",
        "one parent",
        "before child",
        "two child",
        "after child",
        "three parent",
        "after parent",
    ]


FORK_WHILE_HOOKS_RUN = """
import threading, warnings
entered, release = threading.Event(), threading.Event()

@processor.before_processing
def slow(ctx):
    if os.getpid() == parent:
        entered.set()
        release.wait(30)

thread = threading.Thread(target=post, args=(b"one",))
thread.start()
entered.wait(30)
warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12, of forks among threads
if os.fork() == 0:
    post(b"two")
    adapter.close()
    os._exit(0)
os.wait()
release.set()
thread.join()
"""


@needs_fork
def test_fork_while_hooks_run():
    """A child that was forked while the parent's hooks ran does not wait for them."""
    out, err, status = run_program(FORK_WHILE_HOOKS_RUN)
    assert (err, status) == ("", 0)
    assert out[:4] == ["before parent", "before child", "two child", "after child"]
    assert out[4:] == ["one parent", "after parent"]
