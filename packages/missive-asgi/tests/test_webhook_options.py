"""The suite that all adapters of webhooks share: options."""

from webhook_suite.options import *  # noqa: F403
