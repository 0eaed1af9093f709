"""What DLQs are tested for, by topic."""

from .durability import Durability
from .mapping import MappingChecks
from .store import StoreChecks

__all__ = ["Durability", "MappingChecks", "StoreChecks"]
