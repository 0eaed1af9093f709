"""A server that refuses for good: one clear error, and no attempt more."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisRefused, RedisStreamsAdapter
from patience import eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from servers import free_port

README = Path(__file__).resolve().parents[2] / "packages/missive-redis/README.md"


def refusal(url: str, **options: Any) -> RedisRefused:
    """Run an adapter that is refused, and give the error that ended it."""
    recorder = Recorder()
    adapter: Any = RedisStreamsAdapter(
        missive.RawMessage, recorder.processor, "orders", "billing", url=url, **options
    )
    with Running(adapter, wait=False) as running:
        error = running.fails()
    assert isinstance(error, RedisRefused), error
    assert error.__cause__ is not None
    assert adapter.status().reconnections == 0
    return error


def test_a_wrong_password(make_server: Callable[..., RedisServer]) -> None:
    """The error says what is wrong, and not what the password was."""
    server = make_server(requirepass="right")
    error = refusal(server.url.replace("//", "//:sesame@"))
    assert error.code == "WRONGPASS"
    assert "sesame" not in str(error)


def test_no_password_where_one_is_needed(make_server: Callable[..., RedisServer]) -> None:
    """The server asks for a password that nobody gave."""
    assert refusal(make_server(requirepass="right").url).code == "NOAUTH"


def test_a_password_where_none_is_known(server: RedisServer) -> None:
    """A server without passwords does not take one either."""
    assert refusal(server.url.replace("//", "//:sesame@")).code == "WRONGPASS"


@pytest.mark.parametrize(
    ("denied", "options"),
    [
        ("xgroup", {}),
        ("xack", {}),
        ("xclaim", {}),
        ("xpending", {}),
        ("xreadgroup", {}),
        ("xtrim", {"trim": True}),
    ],
)
def test_a_command_that_the_user_may_not_give(
    server: RedisServer, client: redis.Redis, denied: str, options: dict[str, Any]
) -> None:
    """What the adapter will need is asked for at once, not when it is needed."""
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{denied}"]
    )
    error = refusal(server.url.replace("//", "//clerk:@"), **options)
    assert error.code == "NOPERM"
    assert denied in str(error).lower()
    client.acl_deluser("clerk")


def test_a_key_that_the_user_may_not_read(server: RedisServer, client: redis.Redis) -> None:
    """A user who may read other keys only is told so."""
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["other"], commands=["+@all"]
    )
    assert refusal(server.url.replace("//", "//clerk:@")).code == "NOPERM"
    client.acl_deluser("clerk")


def test_a_permission_that_is_taken_away_later(
    server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends when the server begins to deny what it allowed."""
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+@all"]
    )
    recorder = Recorder()
    adapter: Any = RedisStreamsAdapter(
        missive.RawMessage,
        recorder.processor,
        "orders",
        "billing",
        url=server.url.replace("//", "//clerk:@"),
    )
    with Running(adapter) as running:
        client.xadd("orders", {"data": "x"})
        recorder.wait_for(1)
        client.acl_setuser("clerk", commands=["-xreadgroup"])
        error = running.fails()
    assert isinstance(error, RedisRefused)
    assert error.code == "NOPERM"
    client.acl_deluser("clerk")


def test_a_permission_to_ack_that_is_taken_away_later(
    server: RedisServer, client: redis.Redis
) -> None:
    """The error is the same whether reading is denied or settling."""
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+@all"]
    )

    def act(message: Any, ctx: Any) -> None:
        client.acl_setuser("clerk", commands=["-xack"])
        ctx.ack()

    adapter: Any = RedisStreamsAdapter(
        missive.RawMessage,
        Recorder(act).processor,
        "orders",
        "billing",
        url=server.url.replace("//", "//clerk:@"),
        ack_every=1,
    )
    with Running(adapter) as running:
        client.xadd("orders", {"data": "x"})
        error = running.fails()
    assert isinstance(error, RedisRefused)
    assert error.code == "NOPERM"
    client.acl_deluser("clerk")


def test_the_permissions_of_the_readme_suffice(server: RedisServer, client: redis.Redis) -> None:
    """A user who has just these reads, retries, trims, asks how far behind it is, and leaves."""
    (line,) = re.findall(r"^ACL SETUSER .*$", README.read_text(), re.MULTILINE)
    _, _, user, *rules = line.split()
    client.execute_command("ACL", "SETUSER", user, "reset", *rules)
    recorder = Recorder()

    def act(message: Any, ctx: Any) -> None:
        if message.delivery_count == 1:
            ctx.nack()
        else:
            ctx.ack()

    recorder.act = act
    adapter: Any = RedisStreamsAdapter(
        missive.RawMessage,
        recorder.processor,
        "orders",
        "billing",
        url=server.url.replace("//", f"//{user}:secret@"),
        retry_after=0.1,
        trim=True,
    )
    with Running(adapter):
        client.xadd("orders", {"data": "x"})
        recorder.wait_for(2)
        assert adapter.lag().length <= 1
    assert client.xlen("orders") == 0
    assert client.xinfo_consumers("orders", "billing") == []
    client.acl_deluser(user)


def test_a_key_that_is_no_stream(server: RedisServer, client: redis.Redis) -> None:
    """A name that holds something else is a mistake that waiting does not mend."""
    client.set("orders", "x")
    assert refusal(server.url).code == "WRONGTYPE"


def test_a_database_that_is_not_there(server: RedisServer) -> None:
    """A number that the server has no database for is refused in its own words."""
    assert "DB index is out of range" in str(refusal(f"{server.url}/9999"))


def test_a_cluster_node_that_serves_other_slots(make_server: Callable[..., RedisServer]) -> None:
    """A node that sends us elsewhere ends the run with an error that says where."""
    servers = [
        make_server(
            **{
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-config-file": f"nodes-{number}.conf",
            }
        )
        for number in (1, 2)
    ]
    clients = [server.client() for server in servers]
    slot = clients[0].execute_command("CLUSTER KEYSLOT", "orders")
    clients[0].execute_command("CLUSTER ADDSLOTSRANGE", slot, slot)
    clients[1].execute_command("CLUSTER ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
    bus = servers[1].options["cluster-port"]
    clients[0].execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port, bus)
    for client in clients:
        eventually(
            lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok",  # noqa: B023
            "the cluster does not form",
        )
        client.close()
    error = refusal(servers[1].url)
    assert error.code == "MOVED"
    assert str(servers[0].port) in str(error)
    assert "the cluster node that serves the stream" in str(error)


def test_a_refusal_logs_no_password(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is logged on the way, the password is not."""
    with caplog.at_level(logging.DEBUG):
        refusal(make_server(requirepass="right").url.replace("//", "//:sesame@"))
    assert "sesame" not in caplog.text
