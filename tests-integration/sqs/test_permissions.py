"""The policy of least permissions on the documentation's page, tried where policies are enforced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import missive
import pytest
from missive.adapters.sqs import SQSAdapter, SQSRefused
from patience import eventually
from recorder import Recorder
from running import Running
from sqs_server import TestQueue

PAGE = Path(__file__).resolve().parents[2] / "docs/transports/sqs.md"
#: SQS asks for the permission of the single call where a batch is sent; moto for one of its own.
BATCHES = {
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}


def documented_policy() -> Any:
    """Return the policy on the page."""
    found = re.search(r"policy\.json\n\n(\{.*?\n\})\n```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def documented_actions() -> list[str]:
    """Return the actions that the policy on the page allows."""
    (statement,) = documented_policy()["Statement"]
    return list(statement["Action"])


@contextmanager
def allowed(queue: TestQueue, actions: list[str]) -> Iterator[Any]:
    """Enforce permissions, and yield a client of a user who has these on the queue."""
    iam, user = queue.server.boto("iam"), f"user-{uuid4().hex}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    found = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
    policy = documented_policy()
    policy["Statement"][0]["Resource"] = found["Attributes"]["QueueArn"]
    policy["Statement"][0]["Action"] = actions + [
        BATCHES[action] for action in actions if action in BATCHES
    ]
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(policy))
    client = queue.server.boto(
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )
    queue.server.enforce_permissions(on=True)
    try:
        yield client
    finally:
        queue.server.enforce_permissions(on=False)
        client.close()
        iam.close()


def nack_once(message: Any, ctx: Any) -> None:
    """Nack the first delivery, so that everything that the adapter ever does is done."""
    ctx.nack() if message.delivery_count == 1 else ctx.ack()


def adapter_of(recorder: Recorder, queue: TestQueue, client: Any) -> SQSAdapter[Any]:
    """Build an adapter that uses a client."""
    return SQSAdapter(
        missive.RawMessage,
        recorder.processor,
        queue.url,
        client=client,
        wait_time=1,
        retry_after=0,
    )


def test_the_documented_policy_is_enough(queue: TestQueue) -> None:
    """With the policy on the page a message is received, nacked, received again and deleted."""
    recorder = Recorder(nack_once)
    queue.send("one")
    with allowed(queue, documented_actions()) as client:
        adapter = adapter_of(recorder, queue, client)
        with Running(adapter):
            recorder.wait_for(2)
            eventually(lambda: not adapter.lag().in_flight, "the message was left")
    assert queue.is_empty()


# moto does not know the resource of GetQueueUrl, and refuses it to all whose policy names one.
@pytest.mark.parametrize(
    "action", [action for action in documented_actions() if action != "sqs:GetQueueUrl"]
)
def test_each_action_of_the_policy_is_needed(queue: TestQueue, action: str) -> None:
    """Without one of the actions on the page the run ends with SQSRefused."""
    recorder = Recorder(nack_once)
    queue.send("one")
    others = [each for each in documented_actions() if each != action]
    with allowed(queue, others) as client:
        running = Running(adapter_of(recorder, queue, client), wait=False)
        with running:
            assert isinstance(running.fails(), SQSRefused)
