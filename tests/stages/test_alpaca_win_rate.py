"""AlpacaEval's own regression, driven with a table from a file, and answers that others gave."""

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from stages.artifacts import Completions, Report, Scores
from stages.evaluate.alpaca_win_rate import AlpacaEvalWinRate, length_controlled
from stages.evaluate.win_rate import WinRate
from stages.generate.side_by_side import SideBySide
from stages.sources.answers import LocalAnswers
from tests.stages.rows import scored

SHARED = Path(__file__).parents[3] / "shared/data"
HEAD = "index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline,model"


@pytest.fixture
def package():
    pytest.importorskip("alpaca_eval", reason="alpaca_eval is not installed")


@pytest.fixture
def table(tmp_path):
    """Like df_gamed.csv: two models that differ from the baseline in length alone, and are liked no less for it."""
    draw, lines = random.Random(0), [HEAD]
    difficulties = [draw.gauss(0, 1) for _ in range(60)]
    for model, sign in (("concise", 1), ("verbose", -1)):
        for index, difficulty in enumerate(difficulties):
            lines.append(f"{index},0.5,{sign * draw.uniform(0.2, 2)},{difficulty},False,{model}")
    path = tmp_path / "df_gamed.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def liked_for_length():
    """The longer answer wins 9 times in 10, and the candidate's is mostly the longer one."""
    lengths = [(300, 100) if place % 4 else (100, 300) for place in range(60)]
    preferences = [float((ours > theirs) != (place % 10 == 5)) for place, (ours, theirs) in enumerate(lengths)]
    return preferences, lengths


@pytest.mark.usefixtures("package")
def test_a_model_that_wins_by_length_is_about_even_at_equal_length(table):
    preferences, lengths = liked_for_length()
    rate = length_controlled(preferences, lengths, table)["alpaca_eval_length_controlled"]
    assert sum(preferences) / len(preferences) > 0.6
    assert rate == pytest.approx(0.5, abs=0.05)
    turned = length_controlled([1 - p for p in preferences], [(b, a) for a, b in lengths], table)
    assert turned["alpaca_eval_length_controlled"] == pytest.approx(1 - rate, abs=0.02)


@pytest.mark.usefixtures("package")
def test_a_model_that_is_better_stays_better(table):
    _, lengths = liked_for_length()
    rate = length_controlled([0.9] * 60, lengths, table)["alpaca_eval_length_controlled"]
    assert 0.8 < rate < 0.95


@pytest.mark.usefixtures("package")
def test_what_length_is_worth_is_learned_from_the_table_too(table):
    text = Path(table).read_text()
    rows = [line.replace(",0.5,", ",0.9," if "verbose" in line else ",0.1,") for line in text.splitlines()]
    Path(table).write_text("\n".join(rows) + "\n")
    longer, shorter = [(200 + place, 100) for place in range(60)], [(100, 200 + place) for place in range(60)]
    rates = [length_controlled([0.6] * 60, each, table)["alpaca_eval_length_controlled"] for each in (longer, shorter)]
    assert rates[0] < 0.6 < rates[1]


@pytest.mark.usefixtures("package")
def test_the_libraries_are_left_as_they_were(table):
    import sklearn
    from alpaca_eval.metrics import glm_winrate

    before = (sklearn.get_config(), glm_winrate.hf_hub_download)
    length_controlled(*liked_for_length(), table)
    assert (sklearn.get_config(), glm_winrate.hf_hub_download) == before


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("model", "published"), [("vicuna-7b", 6.28), ("gpt-3.5-turbo-1106", 19.30)])
def test_alpacaevals_own_annotations_give_the_published_numbers(model, published):
    annotations, table = SHARED / f"annotations_{model}.jsonl", SHARED / "df_gamed.csv"
    if not (annotations.exists() and table.exists()):
        pytest.skip("AlpacaEval's annotations and its df_gamed.csv are not in ../shared/data")
    rows = [json.loads(line) for line in annotations.read_text().splitlines()]
    lengths = [(row["len_model"], row["len_baseline"]) for row in rows]
    found = length_controlled([row["preference"] - 1 for row in rows], lengths, str(table))
    assert 100 * found["alpaca_eval_length_controlled"] == pytest.approx(published, abs=5e-3)


def scores(artifact, preferences, lengths, first=1):
    rows = [
        scored(str(first + place), sample, "w" * lengths[place][sample], score, null_reason="truncated")
        for place, liked in enumerate(preferences)
        for sample, score in enumerate((liked, None if liked is None else 1 - liked))
    ]
    return artifact(Scores, rows)


@pytest.mark.usefixtures("package")
def test_the_stage_tells_it_under_a_name_of_its_own(artifact, table):
    preferences, lengths = liked_for_length()
    out = artifact(Report)
    told = AlpacaEvalWinRate(table_path=table)(scores=scores(artifact, preferences, lengths), out=out)
    assert told == out.read() == {**length_controlled(preferences, lengths, table), "missing": 0.0}
    minimal = WinRate()(scores=scores(artifact, preferences, lengths), out=artifact(Report))
    assert told.keys() & minimal.keys() == {"missing"}
    assert not [name for name in told if name.endswith(("_se", "_low", "_high"))]


@pytest.mark.usefixtures("package")
def test_a_missing_judgement_is_counted_and_no_tie(artifact, table):
    _, lengths = liked_for_length()
    some = [None if place < 6 else 1.0 for place in range(60)]
    with pytest.raises(ValueError, match="6 of 60 prompts have no judgement"):
        AlpacaEvalWinRate(table_path=table)(scores=scores(artifact, some, lengths), out=artifact(Report))
    stage = AlpacaEvalWinRate(table_path=table, missing_allowed=0.1)
    told = stage(scores=scores(artifact, some, lengths), out=artifact(Report))
    assert told["missing"] == 0.1
    ties = [0.5 if liked is None else liked for liked in some]
    assert (
        told["alpaca_eval_length_controlled"] > length_controlled(ties, lengths, table)["alpaca_eval_length_controlled"]
    )


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("count", "first"), [(59, 1), (60, 0), (60, 2)])
def test_other_prompts_than_the_tables_are_refused(artifact, table, count, first):
    preferences, lengths = liked_for_length()
    with pytest.raises(ValueError, match="are not the 60 instructions"):
        AlpacaEvalWinRate(table_path=table)(
            scores=scores(artifact, preferences[:count], lengths, first), out=artifact(Report)
        )


@pytest.mark.usefixtures("package")
def test_a_table_that_was_written_to_or_is_another_is_refused(artifact, table, tmp_path):
    stage = AlpacaEvalWinRate(table_path=table)
    Path(table).write_text(Path(table).read_text().replace("concise", "terse"))
    with pytest.raises(ValueError, match="has changed since it was planned"):
        stage(scores=scores(artifact, *liked_for_length()), out=artifact(Report))
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"is not AlpacaEval's df_gamed\.csv"):
        AlpacaEvalWinRate(table_path=str(other))(scores=scores(artifact, *liked_for_length()), out=artifact(Report))


def test_without_the_package_it_is_said_how_to_get_it(table):
    if find_spec("alpaca_eval"):
        pytest.skip("alpaca_eval is installed")
    with pytest.raises(ValueError, match="pip install"):
        AlpacaEvalWinRate(table_path=table)


def test_answers_of_a_model_elsewhere_stand_beside_ours(artifact, tmp_path):
    path = tmp_path / "baseline.jsonl"
    asked = [{"instruction": f"question {number}", "output": f"theirs {number}"} for number in (1, 2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    baseline, both = artifact(Completions), artifact(Completions)
    stage = LocalAnswers(path=str(path), columns={"prompt": "instruction", "completion": "output"})
    assert stage(out=baseline) == {"answers": 2}
    rows = [scored(str(number), 0, f"ours {number}", None, sampled_from="policy") for number in (1, 2)]
    ours = artifact(Completions, [{name: row[name] for name in Completions.COLUMNS if name in row} for row in rows])
    assert SideBySide()(candidate=ours, baseline=baseline, out=both) == {"answers": 4}
    told = [(row["completion"][0]["content"], row["finish_reason"], row["sampled_from"]) for row in both.rows()]
    assert told[:2] == [("ours 1", "stop", "policy"), ("theirs 1", "stop", None)]
