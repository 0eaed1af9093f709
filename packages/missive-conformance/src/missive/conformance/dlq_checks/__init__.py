"""What DLQs are tested for, by topic."""

from .accounts import AccountChecks
from .bounds import BoundChecks
from .claims import ClaimChecks
from .deferred import DeferredChecks
from .due import DueChecks
from .durability import Durability
from .inbox import InboxChecks
from .mapping import MappingChecks
from .store import StoreChecks

__all__ = [
    "AccountChecks",
    "BoundChecks",
    "ClaimChecks",
    "DeferredChecks",
    "DueChecks",
    "Durability",
    "InboxChecks",
    "MappingChecks",
    "StoreChecks",
]
