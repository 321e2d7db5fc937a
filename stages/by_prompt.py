"""The one row that each prompt has.

The one decision: where a prompt may be answered once, a second answer is an error, because which of the two counts
would be chance.
"""

from stages.artifacts import Completions, Row


def by_prompt(answers: Completions, columns: list[str], whose: str) -> dict[str, Row]:
    """By ``prompt_id``, in order.

    Args:
        columns: which are read; ``prompt_id`` among them.
        whose: who answered, for the error.

    Raises:
        ValueError: a prompt has several rows.
    """
    found: dict[str, Row] = {}
    for row in answers.rows(columns):
        if row["prompt_id"] in found:
            raise ValueError(f"{whose} answered {row['prompt_id']!r} more than once; sample with n: 1")
        found[row["prompt_id"]] = row
    return found
