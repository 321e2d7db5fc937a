"""What may be run: our own packages and resolvers, and what the user names in ``SELFLOOP_TRUST``.

The one decision: trust is the user's, said in the environment, and nothing that a recipe says can widen it.
"""

import os

OURS = ("stages", "loops")


def trusted() -> list[str]:
    """Packages whose classes a ``_target_`` may name, and resolvers that ``${...}`` may name."""
    return [*OURS, *os.environ.get("SELFLOOP_TRUST", "").replace(",", " ").split()]
