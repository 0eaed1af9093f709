"""The README's programs."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
SECRET = b"the webhook's secret"


@pytest.fixture
def programs():
    """What the README's programs define, once they ran one after the other."""
    defined = {}
    for code in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(README), "exec"), defined)
    yield defined
    for name in ("application", "stripe"):
        defined[name].close()


def test_the_readmes_application(programs, client_of, capsys):
    """The README's application handles a push that GitHub signed, and nothing unsigned."""
    body = b'{"repository": {"full_name": "octocat/hello"}}'
    headers = {
        "X-GitHub-Event": "push",
        "Content-Type": "application/json",
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(),
    }
    for application in (programs["application"], programs["both"]):
        client = client_of(application)
        assert client.post(body, "/github", headers).json == {"result": "ack"}
        unsigned = {"Content-Type": "application/json"}
        assert client.post(body, "/github", unsigned).status == 401
    assert capsys.readouterr().out == "a push to octocat/hello\n" * 2
    assert client_of(programs["both"]).post(body, "/stripe").status == 401
