"""A client that answers as a test says, for faults that no server of ours produces."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
FIFO_URL = URL + ".fifo"


def client_error(code: str, status: int = 400, said: str = "", method: str = "Call") -> ClientError:
    """Return an error as SQS answers it."""
    response: Any = {
        "Error": {"Code": code, "Message": said},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, method)


class FakeClient:
    """A client whose queue is a list; each method can be told to fail or to answer otherwise.

    :ivar calls: the name and the arguments of each call but polls.
    :ivar polls: how many polls were begun.
    :ivar script: by method, errors to raise or functions to call instead, one a call.
    :ivar messages: what the next polls bring, one list each.
    """

    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self.meta = SimpleNamespace(
            config=SimpleNamespace(max_pool_connections=50, read_timeout=60)
        )
        self.calls: list[tuple[str, Any]] = []
        self.polls = 0
        self.script: dict[str, deque[Any]] = {}
        self.messages: deque[list[Mapping[str, Any]]] = deque([list(messages)] if messages else [])
        self.changed = threading.Condition()
        self.over = False

    def bring(self, *messages: Mapping[str, Any]) -> None:
        """Have a poll bring these messages."""
        with self.changed:
            self.messages.append(list(messages))
            self.changed.notify_all()

    def end(self) -> None:
        """End the polls that are under way, and let every other end at once."""
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def will(self, method: str, *actions: Any) -> None:
        """Have the next calls of a method raise errors, or return what functions return."""
        self.script.setdefault(method, deque()).extend(actions)

    def called(self, method: str) -> list[Any]:
        """Return the arguments of the calls of a method so far."""
        return [arguments for name, arguments in self.calls if name == method]

    def _scripted(self, method: str, arguments: Any) -> Any:
        with self.changed:
            if method != "receive_message":
                self.calls.append((method, arguments))
            actions = self.script.get(method)
            action = actions.popleft() if actions else None
            self.changed.notify_all()
        if isinstance(action, Exception):
            raise action
        return action(arguments) if callable(action) else None

    def get_queue_url(self, **arguments: Any) -> Any:
        """Return the URL of the queue."""
        return self._scripted("get_queue_url", arguments) or {"QueueUrl": URL}

    def get_queue_attributes(self, **arguments: Any) -> Any:
        """Return nothing about the queue."""
        return self._scripted("get_queue_attributes", arguments) or {"Attributes": {}}

    def receive_message(self, **arguments: Any) -> Any:
        """Return what the next poll is to bring, once there is something."""
        self.polls += 1
        scripted = self._scripted("receive_message", arguments)
        if scripted is not None:
            return scripted
        with self.changed:
            self.changed.wait_for(lambda: self.messages or self.over, 60.0)
            return {"Messages": self.messages.popleft()} if self.messages else {}

    def delete_message_batch(self, **arguments: Any) -> Any:
        """Take the deletions."""
        return self._batch("delete_message_batch", arguments)

    def change_message_visibility_batch(self, **arguments: Any) -> Any:
        """Take the changes."""
        return self._batch("change_message_visibility_batch", arguments)

    def _batch(self, method: str, arguments: Any) -> Any:
        taken = {"Successful": [{"Id": entry["Id"]} for entry in arguments["Entries"]]}
        return self._scripted(method, arguments) or taken

    def visibilities(self) -> list[tuple[str, int]]:
        """Return the changes of visibility so far: receipt handle and seconds."""
        return [
            (entry["ReceiptHandle"], entry["VisibilityTimeout"])
            for call in self.called("change_message_visibility_batch")
            for entry in call["Entries"]
        ]

    def deleted(self) -> list[str]:
        """Return the receipt handles that were to be deleted so far, in order."""
        return [
            entry["ReceiptHandle"]
            for call in self.called("delete_message_batch")
            for entry in call["Entries"]
        ]


def failing(*ids: str, sender: bool, code: str = "InternalError") -> Callable[[Any], Any]:
    """Return an action by which some entries of a batch fail."""

    def answer(arguments: Any) -> Any:
        entries = [entry["Id"] for entry in arguments["Entries"]]
        return {
            "Successful": [{"Id": each} for each in entries if each not in ids],
            "Failed": [
                {"Id": each, "SenderFault": sender, "Code": code} for each in entries if each in ids
            ],
        }

    return answer


def received(
    number: int, *, count: int = 1, group: str | None = None, body: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return a message as boto3 returns it."""
    attributes = {"ApproximateReceiveCount": str(count), "SentTimestamp": "1700000000000"}
    if group is not None:
        attributes["MessageGroupId"] = group
    return {
        "MessageId": f"id-{number}",
        "ReceiptHandle": f"receipt-{number}-{count}",
        "Body": f"body {number}" if body is None else body,
        "Attributes": attributes,
        **more,
    }
