"""The suite that all adapters of webhooks share: signatures."""

from webhook_suite.signatures import *  # noqa: F403
