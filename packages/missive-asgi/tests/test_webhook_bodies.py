"""The suite that all adapters of webhooks share: bodies."""

from webhook_suite.bodies import *  # noqa: F403
