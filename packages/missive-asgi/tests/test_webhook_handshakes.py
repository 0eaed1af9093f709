"""The suite that all adapters of webhooks share: handshakes."""

from webhook_suite.handshakes import *  # noqa: F403
