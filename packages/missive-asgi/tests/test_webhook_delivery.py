"""The suite that all adapters of webhooks share: delivery."""

from webhook_suite.delivery import *  # noqa: F403
