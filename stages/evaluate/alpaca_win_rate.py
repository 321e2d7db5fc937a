"""AlpacaEval 2's length-controlled win rate, by the ``alpaca_eval`` package's own function.

The one decision: nothing of the regression is ours, and so its number has AlpacaEval's name; the minimal one in
``length_control.py`` has another, and no report can take the one for the other.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import Report, Scores
from stages.evaluate.judged import check_allowed, judged
from stages.files import file_hash


@dataclass(frozen=True, kw_only=True)
class AlpacaEvalWinRate:
    """The candidate's length-controlled win rate over the baseline (Dubois et al., 2024, arXiv 2404.04475).

    It is the published number only with the published judge (``weighted_alpaca_eval_gpt4_turbo``) and baseline
    (``gpt4_1106_preview``); with others it is the same regression on other preferences.

    Args:
        table_path: df_gamed.csv of the hub's data set tatsu-lab/alpaca_eval, which has the difficulty of each of the
            805 instructions and the annotations that regularise; its sha256 is part of the identity, its place is not.
        missing_allowed: the largest share of prompts without a judgement. The package predicts theirs.
        sha256, version: of the table, and of the package; found out.
    """

    VERSION: ClassVar[int] = 1

    table_path: str = field(compare=False)
    missing_allowed: float = 0.0
    sha256: str = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        if find_spec("alpaca_eval") is None:
            raise ValueError("alpaca_eval is not installed in this environment: pip install 'alpaca_eval>=0.6.6,<0.7'")
        check_allowed(self.missing_allowed)
        object.__setattr__(self, "sha256", file_hash(self.table_path))
        object.__setattr__(self, "version", metadata.version("alpaca_eval"))

    def __call__(self, *, scores: Scores, out: Report) -> Mapping[str, float]:
        """Of scores of SideBySide, on AlpacaEval's instructions in its own order, with their row numbers as ids.

        ``alpaca_eval_length_controlled`` is in [0, 1]. It has no interval: ``alpaca_eval_lc_standard_error``, as the
        package has it, is how its predictions vary over instructions, and not how sure their mean is.

        Raises:
            ValueError: the prompts are not those of the table, too many judgements are missing, or the table was
                written to since it was planned.
        """
        every, count = judged(scores, self.missing_allowed), _instructions(self.table_path)
        if [each.prompt_id for each in every] != [str(number) for number in range(1, count + 1)]:
            raise ValueError(
                f"the prompts are not the {count} instructions of {self.table_path} in their order: read all of them "
                "by LocalPrompts, without a column of ids"
            )
        lengths = [(each.candidate_characters, each.baseline_characters) for each in every]
        report = {
            **length_controlled([each.preference for each in every], lengths, self.table_path),
            "missing": sum(each.preference is None for each in every) / len(every),
        }
        if file_hash(self.table_path) != self.sha256:
            raise ValueError(f"{self.table_path} has changed since it was planned; plan again")
        out.write(report)
        return report


def length_controlled(
    preferences: Sequence[float | None], lengths: Sequence[tuple[int, int]], table_path: str
) -> dict[str, float]:
    """What the package makes of preferences, of which it reads the lengths of the answers and the place of the prompt.

    Args:
        preferences: of each instruction, for the candidate, in [0, 1]; AlpacaEval's annotations are these plus 1. None
            where a judgement is missing.
        lengths: of the candidate's and of the baseline's answer, in characters.
        table_path: see AlpacaEvalWinRate.
    """
    import pandas as pd
    import sklearn

    told = {"annotator": "judge", "generator_1": "baseline", "generator_2": "candidate"}
    rows = [
        {**told, "preference": None if liked is None else liked + 1, "output_1": " " * theirs, "output_2": " " * ours}
        for liked, (ours, theirs) in zip(preferences, lengths, strict=True)
    ]
    with sklearn.config_context(), warnings.catch_warnings(), _reading(table_path) as regression:
        warnings.simplefilter("ignore", FutureWarning)  # of scikit-learn, for the package's words
        found = regression(
            pd.DataFrame(rows).astype({"preference": float}),
            save_weights_dir=None,
            is_add_glm_preference_inplace=False,
            is_warn_extreme_changes=False,
        )
    return {
        "alpaca_eval_length_controlled": float(found["length_controlled_winrate"]) / 100,
        "alpaca_eval_lc_standard_error": float(found["lc_standard_error"]) / 100,
    }


@contextmanager
def _reading(table_path: str) -> Iterator[Any]:
    """The package's function, given this table: by itself it takes the hub's, whichever that is today."""
    from alpaca_eval.metrics import glm_winrate

    download = glm_winrate.hf_hub_download
    glm_winrate.hf_hub_download = lambda **where: table_path
    try:
        yield glm_winrate.get_length_controlled_winrate
    finally:
        glm_winrate.hf_hub_download = download


def _instructions(table_path: str) -> int:
    """How many the table knows.

    Raises:
        ValueError: it is no such table.
    """
    import pandas as pd

    try:
        return int(pd.read_csv(Path(table_path))["index"].nunique())
    except (KeyError, ValueError) as wrong:
        raise ValueError(f"{table_path} is not AlpacaEval's df_gamed.csv: {wrong}") from wrong
