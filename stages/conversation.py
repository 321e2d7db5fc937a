"""When two prompts are the same."""

from collections.abc import Sequence

from stages.artifacts import Message


def conversation_key(prompt: Sequence[Message]) -> str:
    """Equal for two prompts if every turn is, whatever the white space."""
    return "\x1e".join(f"{turn['role']}\x1f{' '.join(turn['content'].split())}" for turn in prompt)
