"""The suite that all adapters of webhooks share: inbox."""

from webhook_suite.inbox import *  # noqa: F403
