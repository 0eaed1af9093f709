"""The reception: what becomes of a request, from the server's call to the answer."""

from __future__ import annotations

import asyncio

from missive import HandlingContext, M, Outcome
from missive.webhooks import Answer, answers
from missive.webhooks.serving import Reception, WebhookAdapter

from .bodies import length_to_read, read_body
from .delivery import RawHeaders, ScopeDelivery, ScopeRequest, headers_of, path_below
from .protocol import Receive, Scope
from .server_run import ServerRun

ACKED = Outcome.ACKED


class ASGIReception(Reception[M]):
    """Answers the requests of an adapter, each in the task of its server.

    :param adapter: the adapter.
    """

    def __init__(self, adapter: WebhookAdapter[M]) -> None:
        super().__init__(adapter)
        header = self.intake.id_header
        self._id_key = header.lower().encode("latin-1") if header else b""

    async def answer(self, scope: Scope, receive: Receive, run: ServerRun[M]) -> Answer | None:
        """Return the answer to a request; None where its sender has gone away."""
        path, method = path_below(scope), scope["method"]
        if path == self.path:
            if run.refusing:
                return answers.DRAINING
            if method == "POST":
                return await self.receive(scope, receive, run)
            return self.answer_handshake(ScopeRequest(b"", scope))
        answer = self.answer_get(path, method)
        return await self._answer_probe(run) if answer is None else answer

    async def _answer_probe(self, run: ServerRun[M]) -> Answer:
        """Say whether the run is ready for messages."""
        if run.refusing:
            return answers.NOT_READY
        try:
            if run.broken or run.stores:
                # Perhaps what the before-hooks need is there again; and what is stored is handled.
                await run.open()
            await asyncio.to_thread(self.check_store)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return self.answer_not_ready(error)
        if run.is_open:
            self.adapter.set_ready()
        return answers.ALIVE

    async def receive(self, scope: Scope, receive: Receive, run: ServerRun[M]) -> Answer | None:
        """Take a message; this and what it calls runs for every one (benchmarks/asgi.py)."""
        headers = headers_of(scope)
        unusual = self.is_unusual or b"content-encoding" in headers
        if unusual:
            refusal = self.intake.refuse_type(
                _text(headers, b"content-type"), _text(headers, b"content-encoding")
            )
            if refusal is not None:
                return refusal
        length = length_to_read(scope, headers, self.limit)
        if isinstance(length, Answer):
            return length
        event = await receive()
        body: bytes = event.get("body", b"")
        if event.get("more_body") or event["type"] != "http.request" or len(body) != length:
            whole = await read_body(event, receive, length, self.limit)
            if not isinstance(whole, bytes):
                return whole
            body = whole
        mount = scope.get("root_path")
        source = mount + self.path if mount else self.path
        delivery = ScopeDelivery(body, scope, headers, source)
        run.begin(delivery)
        try:
            if run.refusing:  # since the body was read
                return answers.DRAINING
            refusal = self._judge(delivery, scope, headers) if unusual else None
            if refusal is not None:
                return refusal
            ctx = run.ctx
            if ctx is None:
                return await self._take_first(delivery, run)
            return self._answer_of(await ctx.adeliver(delivery, run.threads))
        except asyncio.CancelledError:
            if run.was_cancelled(delivery):  # at the end of the run, which is told the sender
                return answers.DRAINING
            raise
        except BaseException as error:  # an exit would end the server's loop
            return self.fail(delivery, error)
        finally:
            run.end(delivery)

    def _judge(self, delivery: ScopeDelivery, scope: Scope, headers: RawHeaders) -> Answer | None:
        """Judge a request that is not the usual one, and identify its message."""
        message_id = _text(headers, self._id_key) if self._id_key else None
        return self.admit(delivery, ScopeRequest(delivery.raw_data, scope), message_id)

    async def _take_first(self, delivery: ScopeDelivery, run: ServerRun[M]) -> Answer:
        """Take a message where the run has not begun, or there is an inbox."""
        if run.stores:
            return await self._store(delivery, run)
        await run.open()
        ctx = run.ctx
        if ctx is None:
            return answers.DRAINING
        return self._answer_of(await ctx.adeliver(delivery, run.threads))

    def _answer_of(self, context: HandlingContext[M]) -> Answer:
        """Answer a message that was handled and settled."""
        if context.outcome is ACKED and not self.has_answer:
            return answers.ACKED
        return self.answer_outcome(context)

    async def _store(self, delivery: ScopeDelivery, run: ServerRun[M]) -> Answer:
        """Have a message stored, to be handled later."""
        await run.open()
        inbox = run.inbox
        if inbox is None:
            return answers.DRAINING
        message = inbox.message_of(delivery)
        try:
            receipt = await asyncio.wrap_future(inbox.put(message))
        except Exception as error:
            return self.answer_not_stored(error)
        return self.answer_stored(inbox, message, receipt)


def _text(headers: RawHeaders, name: bytes) -> str:
    return headers.get(name, b"").decode("utf-8", "surrogateescape")
