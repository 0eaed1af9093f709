"""The suite that all adapters of webhooks share: senders."""

from webhook_suite.senders import *  # noqa: F403
