"""Settings for the tests of the kit."""

from __future__ import annotations

import sys
from pathlib import Path

# Child processes rebuild harnesses by their module's name, so the mutants' package must have one
# that does not depend on how pytest imports test files.
sys.path.insert(0, str(Path(__file__).parent))
