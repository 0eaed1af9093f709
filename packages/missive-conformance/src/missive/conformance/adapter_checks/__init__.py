"""What adapters are tested for, by topic."""

from .construction import Construction
from .delivery import Delivery
from .discretion import Discretion
from .network import Network
from .processes import Processes
from .settlement import Settlement
from .stopping import Stopping
from .workers import Workers

__all__ = [
    "Construction",
    "Delivery",
    "Discretion",
    "Network",
    "Processes",
    "Settlement",
    "Stopping",
    "Workers",
]
