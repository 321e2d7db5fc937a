"""When a cron expression says.

The one decision: it means what cron means. APScheduler 3 counts weekdays from Monday and wants a day of the month and a
weekday at once, where cron counts from Sunday and takes either; the first is translated, the second refused.
"""

import re
from typing import TYPE_CHECKING

from loops.errors import RecipeError

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
PART = re.compile(r"(?:\*|(\d)(?:-(\d))?)(?:/([1-7]))?")


def trigger(expression: str) -> "CronTrigger":
    """The times of ``minute hour day month weekday``, in this machine's time zone or that of ``TZ``.

    Raises:
        RecipeError: it is no such expression, or one that the scheduler reads otherwise than cron.
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = expression.split()
    if len(fields) != 5:
        raise RecipeError(f"cron={expression!r}: expected minute, hour, day, month and weekday, such as '0 2 * * *'")
    *rest, day, month, weekday = fields
    if "*" not in day and "*" not in weekday:
        raise RecipeError(f"cron={expression!r}: say a day of the month or a weekday; cron takes either, not both")
    try:
        return CronTrigger.from_crontab(" ".join([*rest, day, month, _weekdays(weekday)]))
    except ValueError as wrong:
        raise RecipeError(f"cron={expression!r}: {wrong}") from wrong


def _weekdays(field: str) -> str:
    """Numbers of weekdays as names, of which nobody doubts where they begin."""
    if field == "*" or re.search("[a-z]", field, flags=re.IGNORECASE):
        return field
    days: list[str] = []
    for part in field.split(","):
        found = PART.fullmatch(part)
        first, last, by = found.groups() if found else (None, None, None)
        numbers = range(int(first or 0), int(last or first or 6) + 1, int(by or 1))
        if found is None or not numbers or numbers[-1] > 7:
            raise ValueError(f"a weekday is 0 (Sunday) to 7 (Sunday), or sun to sat, not {part!r}")
        days += [WEEKDAYS[number] for number in numbers]
    return ",".join(dict.fromkeys(days))
