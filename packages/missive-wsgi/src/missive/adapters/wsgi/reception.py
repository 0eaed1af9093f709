"""The reception: what becomes of a request, from the server's call to the answer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from missive import M, Outcome
from missive.webhooks import Answer, answers
from missive.webhooks.serving import Reception

from .bodies import read_body
from .delivery import EnvironRequest, RequestDelivery, decode, encode
from .process import ServerProcess

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .adapter import WSGIAdapter

ACKED = Outcome.ACKED


class WSGIReception(Reception[M]):
    """Answers the requests of an adapter, in the thread of each.

    :param adapter: the adapter.
    """

    adapter: WSGIAdapter[M]

    def __init__(self, adapter: WSGIAdapter[M]) -> None:
        super().__init__(adapter)
        self._path_info = encode(adapter.path)
        header = self.intake.id_header
        self._id_key = header and "HTTP_" + header.upper().replace("-", "_")

    def answer(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Answer:
        """Return the answer to a request."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        if path == self._path_info:
            if process.refusing:
                return answers.DRAINING
            if method == "POST":
                return self.receive(environ, process)
            return self.answer_handshake(EnvironRequest(b"", environ))
        answer = self.answer_get(decode(path), method)
        return self._answer_probe(process) if answer is None else answer

    def _answer_probe(self, process: ServerProcess[M]) -> Answer:
        """Say whether a process is ready for messages."""
        adapter = self.adapter
        if process.refusing:
            return answers.NOT_READY
        try:
            if process.broken or process.stores:
                # Perhaps what the before-hooks need is there again; and what is stored is handled.
                adapter.open_process(process)
            self.check_store()
        except BaseException as error:
            if _ends_server(error):
                raise
            return self.answer_not_ready(error)
        if process.is_open:
            adapter.set_ready(process)
        return answers.ALIVE

    def receive(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Answer:
        """Take a message; this and what it calls runs for every one (benchmarks/wsgi.py)."""
        unusual = self.is_unusual or "HTTP_CONTENT_ENCODING" in environ
        if unusual:
            refusal = self.intake.refuse_type(
                environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING", "")
            )
            if refusal is not None:
                return refusal
        body = read_body(environ, self.limit)
        if isinstance(body, Answer):
            return body
        mount = environ.get("SCRIPT_NAME")
        delivery = RequestDelivery(
            body, environ, None, decode(mount) + self.path if mount else self.path
        )
        process.in_hand.add(delivery)
        try:
            # Checked again, now that the thread that drains sees this delivery.
            if process.refusing:
                return answers.DRAINING
            if unusual:
                message_id = self._id_key and environ.get(self._id_key)
                refusal = self.admit(
                    delivery, EnvironRequest(body, environ), message_id and decode(message_id)
                )
                if refusal is not None:
                    return refusal
            return self._take(delivery, process)
        except BaseException as error:
            if _ends_server(error):
                raise
            return self.fail(delivery, error)
        finally:
            process.in_hand.discard(delivery)
            if process.refusing:
                process.note_done()

    def _take(self, delivery: RequestDelivery, process: ServerProcess[M]) -> Answer:
        """Have a message handled, and answer what became of it."""
        if process.stores:
            return self._store(delivery, process)
        # The outcome belongs to this request: it is settled here, in the request's own thread.
        context = process.take(delivery)
        if context is None:
            return answers.DRAINING
        if context.outcome is ACKED and not self.has_answer:
            return answers.ACKED
        return self.answer_outcome(context)

    def _store(self, delivery: RequestDelivery, process: ServerProcess[M]) -> Answer:
        """Have a message stored, to be handled later."""
        self.adapter.open_process(process)
        inbox = process.inbox
        if inbox is None:
            return answers.DRAINING
        message = inbox.message_of(delivery)
        try:
            receipt = inbox.put(message).result()
        except Exception as error:
            return self.answer_not_stored(error)
        return self.answer_stored(inbox, message, receipt)


def _ends_server(error: BaseException) -> bool:
    """Return whether an error is an exit that the server hears of.

    In the main thread it may be a signal's, and the server ends by it. In any other it would end
    that thread alone, some servers would lose a thread, and the sender would wait for ever.
    """
    return (
        not isinstance(error, Exception) and threading.current_thread() is threading.main_thread()
    )
