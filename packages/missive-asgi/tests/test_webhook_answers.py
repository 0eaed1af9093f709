"""The suite that all adapters of webhooks share: answers."""

from webhook_suite.answers import *  # noqa: F403
