"""A page about a run that a person can read: what came of it, how sure that is, what it cost, how to do it again.

The one decision: this package stands on ``loops`` and ``stages``, and neither knows of it. It reads what a run has left
and changes nothing.
"""
