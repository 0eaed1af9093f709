"""What only an ASGI application meets: its loop, its lifespan, its protocol, and its end."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest
from missive import (
    ConfigurationError,
    DrainTimeout,
    MemoryDLQ,
    Processor,
    RawMessage,
    Retry,
    otherwise,
)
from missive.adapters.asgi import ASGIAdapter

DEADLINE = 30.0

#: Set by a processing hook, and seen by handlers.
colour: ContextVar[str] = ContextVar("colour", default="none")


def adapter_of(handler, **options):
    """Return an adapter whose processor has one handler, and a store."""
    processor: Processor[RawMessage] = Processor(retry=options.pop("retry", None))
    processor.set_dlq(MemoryDLQ())
    processor.handle_for(otherwise)(handler)
    return ASGIAdapter(RawMessage, processor, **options)


async def until(happened: threading.Event | asyncio.Event) -> None:
    """Wait for an event of either kind."""
    if isinstance(happened, asyncio.Event):
        await asyncio.wait_for(happened.wait(), DEADLINE)
    else:
        assert await asyncio.to_thread(happened.wait, DEADLINE)


async def lifespan(adapter, steps):
    """Play a server's lifespan; return what it was told."""
    told = []
    messages = asyncio.Queue()

    async def send(event):
        told.append(event)
        if event["type"] == "lifespan.startup.complete":
            await steps()
            await messages.put({"type": "lifespan.shutdown"})

    await messages.put({"type": "lifespan.startup"})
    await adapter({"type": "lifespan"}, messages.get, send)
    return told


def test_async_handlers_run_on_the_servers_loop(client_of, loop):
    """An async handler runs in the task of its request; a plain one in another thread."""
    seen = {}

    async def handle(message, ctx):
        await asyncio.sleep(0)
        seen["async"] = (asyncio.get_running_loop(), threading.get_ident())
        ctx.ack()

    adapter = adapter_of(handle)
    assert client_of(adapter).post(b"a").json == {"result": "ack"}
    assert seen["async"][0] is loop.loop

    def plain(message, ctx):
        seen["plain"] = threading.get_ident()
        ctx.ack()

    other = adapter_of(plain)
    assert client_of(other).post(b"a").json == {"result": "ack"}
    assert seen["plain"] not in (seen["async"][1], threading.get_ident())
    loop.run(adapter.shutdown())
    loop.run(other.shutdown())


def test_a_plain_handler_among_async_hooks(client_of, loop):
    """Async hooks run on the loop, and the plain handler between them in a thread."""
    threads = []
    processor: Processor[RawMessage] = Processor()

    @processor.before_handling
    async def before(processing, ctx):
        threads.append(threading.get_ident())

    @processor.handle_for(otherwise)
    def handle(message, ctx):
        threads.append(threading.get_ident())
        ctx.ack()

    adapter = ASGIAdapter(RawMessage, processor)
    assert client_of(adapter).post(b"a").status == 200
    assert len(set(threads)) == 2
    loop.run(adapter.shutdown())


def test_observers_and_retries(client_of, loop):
    """On the loop too, outcomes are observed, and a message that fails waits in the store."""
    outcomes = []

    async def handle(message, ctx):
        if message.raw_data == b"fail":
            raise ConnectionError("down")
        ctx.ack()

    adapter = adapter_of(handle, retry=Retry(attempts=2))

    @adapter.processor.on_settled
    async def observe(processing, ctx):
        outcomes.append(ctx.outcome.value)

    client = client_of(adapter)
    assert [client.post(body).status for body in (b"fail", b"fine")] == [202, 200]
    assert outcomes == ["deferred", "acked"]
    assert adapter.processor.dlq.counts().deferred == 1
    loop.run(adapter.shutdown())


def test_no_more_threads_than_allowed(client_of, loop):
    """So many plain handlers run at once; others wait for a thread."""
    running, most, lock, both = [], [], threading.Lock(), threading.Barrier(2)

    def handle(message, ctx):
        with lock:
            running.append(1)
            most.append(len(running))
        both.wait(DEADLINE)
        with lock:
            running.pop()
        ctx.ack()

    adapter = adapter_of(handle, threads=2)
    client = client_of(adapter)

    async def several():
        return await asyncio.gather(*(client.exchange("POST", "/", b"a") for _ in range(6)))

    assert {answer.status for answer in loop.run(several())} == {200}
    assert max(most) == 2
    loop.run(adapter.shutdown())


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "4"])
def test_threads_are_checked(threads):
    """A number of threads that makes no sense is refused."""
    with pytest.raises(ConfigurationError, match="threads"):
        ASGIAdapter(RawMessage, Processor(), threads=threads)


def test_lifespan_runs_the_hooks(client_of, loop):
    """The before-hooks run at the server's start and the after-hooks at its end, in one task."""
    done = []
    processor: Processor[RawMessage] = Processor()

    @processor.around_processing
    async def around(ctx):
        done.append(("before", asyncio.current_task()))
        colour.set("blue")
        yield
        done.append(("after", asyncio.current_task()))

    @processor.handle_for(otherwise)
    async def handle(message, ctx):
        done.append((colour.get(), None))
        ctx.ack()

    adapter = ASGIAdapter(RawMessage, processor)
    client = client_of(adapter)

    async def steps():
        assert adapter.ready.is_set()
        assert (await client.exchange("POST", "/", b"a")).status == 200

    told = loop.run(lifespan(adapter, steps))
    assert [event["type"] for event in told] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert [what for what, _ in done] == ["before", "blue", "after"]
    assert done[0][1] is done[2][1]
    assert not adapter.ready.is_set()
    assert client.post(b"a").status == 503


def test_a_hook_that_fails_in_the_lifespan(loop, caplog):
    """A server is told that a before-hook failed, without what it was about, and so of the end."""
    processor: Processor[RawMessage] = Processor()
    failing = [True]

    @processor.before_processing
    def before(ctx):
        if failing[0]:
            raise RuntimeError("the password is 4111")

    @processor.after_processing
    async def after(ctx):
        raise LookupError("4111")

    async def nothing():
        failing.append(False)

    adapter = ASGIAdapter(RawMessage, processor)
    (told,) = loop.run(lifespan(adapter, nothing))
    assert told["type"] == "lifespan.startup.failed"
    failing[0] = False
    told = loop.run(lifespan(adapter, nothing))
    assert [event["type"] for event in told] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.failed",
    ]
    assert "LookupError" in told[1]["message"]
    assert "4111" not in caplog.text + told[1]["message"]


def test_without_a_lifespan(client_of, loop):
    """Without a lifespan the before-hooks run once, ahead of the first message; a failed one again."""
    done = []
    processor: Processor[RawMessage] = Processor()

    @processor.before_processing
    async def before(ctx):
        done.append("before")
        if len(done) == 1:
            raise RuntimeError

    @processor.handle_for(otherwise)
    async def handle(message, ctx):
        ctx.ack()

    adapter = ASGIAdapter(RawMessage, processor)
    client = client_of(adapter)
    assert client.get("/readyz").status == 200  # nobody knows yet
    assert client.post(b"a").json == {"result": "error"}
    assert client.get("/readyz").status == 200
    assert client.post(b"a").status == 200
    assert done == ["before", "before"]
    assert adapter.ready.is_set()
    loop.run(adapter.shutdown())


def test_lifespan_of_an_application_around(client_of, loop):
    """The lifespan of an application that this one is mounted into runs the hooks, and again."""
    done = []
    processor: Processor[RawMessage] = Processor()
    processor.before_processing(lambda ctx: done.append("before"))
    processor.after_processing(lambda ctx: done.append("after"))
    processor.handle_for(otherwise)(lambda message, ctx: ctx.ack())
    adapter = ASGIAdapter(RawMessage, processor)
    client = client_of(adapter)

    async def live():
        async with adapter.lifespan(object()):
            return (await client.exchange("POST", "/", b"a")).status

    assert [loop.run(live()), loop.run(live())] == [200, 200]
    assert done == ["before", "after"] * 2


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, StopAsyncIteration])
def test_an_exit_in_a_handler(client_of, loop, error, caplog):
    """A handler that exits ends neither the server nor its loop: it is answered 500."""

    async def handle(message, ctx):
        raise error

    processor: Processor[RawMessage] = Processor()
    processor.handle_for(otherwise)(handle)
    adapter = ASGIAdapter(RawMessage, processor)
    client = client_of(adapter)
    assert client.post(b"a").json == {"result": "error"}
    assert error.__name__ in caplog.text
    loop.run(adapter.shutdown())


def test_the_end_waits_for_what_is_in_flight(client_of, loop):
    """At the end new messages are answered 503, and those in flight as ever."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def handle(message, ctx):
        entered.set()
        await release.wait()
        ctx.ack()

    adapter = adapter_of(handle)
    client = client_of(adapter)

    async def play():
        first = asyncio.create_task(client.exchange("POST", "/", b"a"))
        await until(entered)
        ending = asyncio.create_task(adapter.shutdown())
        while adapter.ready.is_set():
            await asyncio.sleep(0)
        second = await client.exchange("POST", "/", b"b")
        probe = await client.exchange("GET", "/readyz")
        release.set()
        await ending
        return (await first).status, second.status, probe.status

    assert loop.run(play()) == (200, 503, 503)


def test_the_drain_deadline(client_of, loop):
    """A handler that does not end in time is cancelled; its message is unsettled, answered 503."""
    entered, done = asyncio.Event(), []

    async def handle(message, ctx):
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            done.append("handler")

    adapter = adapter_of(handle, drain_timeout=0.01)
    adapter.processor.after_processing(lambda ctx: done.append("after"))
    client = client_of(adapter)

    async def play():
        first = asyncio.create_task(client.exchange("POST", "/", b"a"))
        await until(entered)
        with pytest.raises(DrainTimeout):
            await adapter.shutdown()
        return await first

    answer = loop.run(play())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert done == ["handler", "after"]
    assert len(adapter.processor.dlq) == 0


def test_a_request_that_its_server_cancels(client_of, loop):
    """A request whose task is cancelled leaves its message unsettled, and nothing in flight."""
    entered = asyncio.Event()

    async def handle(message, ctx):
        entered.set()
        await asyncio.Event().wait()

    adapter = adapter_of(handle)
    client = client_of(adapter)

    async def play():
        task = asyncio.create_task(client.exchange("POST", "/", b"a"))
        await until(entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await adapter.shutdown()

    loop.run(play())
    assert len(adapter.processor.dlq) == 0


def scope_of(**changes):
    """Return the scope of a POST."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "headers": [],
        **changes,
    }


async def receive_of(*events):
    """Return a receive that gives events, and then says that the sender has gone."""
    left = list(events)

    async def receive():
        return left.pop(0) if left else {"type": "http.disconnect"}

    return receive


def play(loop, adapter, *events, **changes):
    """Send events to an application; return what it sent."""
    told = []

    async def send(event):
        told.append(event)

    async def exchange():
        await adapter(scope_of(**changes), await receive_of(*events), send)

    loop.run(exchange())
    return told


PIECE = {"type": "http.request", "body": b"12345", "more_body": True}
CHUNKED = [(b"transfer-encoding", b"chunked")]


def test_a_sender_that_goes_away(loop):
    """A body that does not come whole is never handled, and nobody is answered."""
    handled = []
    adapter = adapter_of(lambda message, ctx: handled.append(message))
    assert play(loop, adapter, headers=CHUNKED) == []
    assert play(loop, adapter, PIECE, headers=CHUNKED) == []
    assert handled == []


def test_a_body_is_read_up_to_the_limit(loop):
    """A body that turns out longer than the limit is answered 413, and the rest is not read."""
    adapter = adapter_of(lambda message, ctx: ctx.ack(), max_content_length=12)
    last = {"type": "http.request", "body": b"12", "more_body": False}
    assert play(loop, adapter, PIECE, PIECE, last, headers=CHUNKED)[0]["status"] == 200
    assert play(loop, adapter, PIECE, PIECE, PIECE, PIECE, headers=CHUNKED)[0]["status"] == 413
    loop.run(adapter.shutdown())


def test_a_sender_that_is_gone_when_it_is_answered(loop):
    """A server that says so when it is to send changes nothing of the outcome."""
    handled = []

    async def handle(message, ctx):
        handled.append(message.raw_data)
        ctx.ack()

    adapter = adapter_of(handle)

    async def send(event):
        raise OSError("gone")

    async def exchange():
        receive = await receive_of({"type": "http.request", "body": b""})
        await adapter(scope_of(), receive, send)

    loop.run(exchange())
    assert handled == [b""]
    loop.run(adapter.shutdown())


def test_a_header_that_was_sent_twice(loop, caplog):
    """An id that was sent twice is refused, as where the server joins the values."""
    adapter = adapter_of(lambda message, ctx: ctx.ack(), id_header="webhook-id")
    headers = [(b"webhook-id", b"1"), (b"webhook-id", b"2"), (b"content-length", b"0")]
    told = play(loop, adapter, {"type": "http.request"}, headers=headers)
    assert told[0]["status"] == 400
    assert "more than once" in caplog.text


@pytest.mark.parametrize(
    ("path", "mount", "status", "source"),
    [
        ("/hooks", "", 200, "/hooks"),
        ("/app/hooks", "/app", 200, "/app/hooks"),
        ("/hooks", "/app", 200, "/app/hooks"),  # as servers did before the protocol said so
        ("/application/hooks", "/app", 404, None),
        ("/app", "/app", 404, None),
    ],
)
def test_mounted(loop, path, mount, status, source):
    """The path is the one below where the application is mounted; the source holds both."""
    sources = []

    async def handle(message, ctx):
        sources.append(message.source)
        ctx.ack()

    adapter = adapter_of(handle, path="/hooks")
    told = play(loop, adapter, {"type": "http.request"}, path=path, root_path=mount)
    assert told[0]["status"] == status
    assert sources == ([source] if source else [])
    loop.run(adapter.shutdown())


def test_the_url_of_a_request(loop):
    """Without a Host header the URL is that of the server, and a default port is left out."""
    urls = []

    def verify(request):
        urls.append(request.url)
        return True

    adapter = adapter_of(lambda message, ctx: ctx.ack(), verify=verify)
    body = {"type": "http.request"}
    for server in (("example.com", 8000), ("example.com", 443), ("/run/socket", None), None):
        play(loop, adapter, body, scheme="https", server=server, query_string=b"a=1")
    assert urls == [
        "https://example.com:8000/?a=1",
        "https://example.com/?a=1",
        "https:///run/socket/?a=1",
        "https:///?a=1",
    ]
    loop.run(adapter.shutdown())


def test_the_native_object_is_the_scope(loop):
    """A handler can read the whole scope."""
    natives = []

    async def handle(message, ctx):
        natives.append(message.native)
        ctx.ack()

    adapter = adapter_of(handle)
    play(loop, adapter, {"type": "http.request"}, client=("10.0.0.1", 7))
    assert natives[0]["client"] == ("10.0.0.1", 7)
    loop.run(adapter.shutdown())


def test_other_protocols(loop):
    """A WebSocket is refused; what is not of ASGI raises, as servers expect."""
    adapter = adapter_of(lambda message, ctx: ctx.ack())
    told = play(loop, adapter, {"type": "websocket.connect"}, type="websocket")
    assert told == [{"type": "websocket.close", "code": 1000}]
    with pytest.raises(ValueError, match="gopher"):
        play(loop, adapter, type="gopher")


def test_headers_of_one_answer_show_in_no_other(loop):
    """What middleware does to the headers of a response is gone with it."""
    adapter = adapter_of(lambda message, ctx: ctx.ack())
    play(loop, adapter, {"type": "http.request"})[0]["headers"].clear()
    assert play(loop, adapter, {"type": "http.request"})[0]["headers"]
    loop.run(adapter.shutdown())
