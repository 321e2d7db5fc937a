"""The implicit reward: what it is, and when it must not be given."""

import pytest

from stages.artifacts import Completions, Model, Prompts, Scores
from stages.engines.hf import HF
from stages.engines.logprobs import score_sequences
from stages.engines.models import load_model
from stages.generate.sample import Sample
from stages.score.implicit import ImplicitReward
from tests.stages.rows import prompt


@pytest.fixture
def answers(artifact, tiny_model):
    out = artifact(Completions)
    stage = Sample(n=16, temperature=1.0, max_new_tokens=9, seed=1, engine=HF())
    questions = [prompt("a", "Hi"), prompt("b", "Name three rivers of Europe.")]
    stage(prompts=artifact(Prompts, questions), policy=tiny_model, out=out)
    return out


def score(artifact, answers, policy, reference, **fields):
    out = artifact(Scores)
    metrics = ImplicitReward(**fields)(completions=answers, policy=policy, reference=reference, out=out)
    return list(out.rows()), metrics, out


def test_it_is_the_difference_of_the_log_probs_of_the_generated_ids(artifact, answers, tiny_model, other_model):
    rows, _, _ = score(artifact, answers, other_model, tiny_model)
    model = load_model(other_model, "cpu")
    for row in rows:
        if row["score"] is not None:
            ((_, expected),) = score_sequences(model, [(row["prompt_tokens"], row["completion_tokens"])], 1)
            assert row["policy_logp"] == pytest.approx(expected, abs=1e-4)
            assert row["score"] == row["policy_logp"] - row["reference_logp"]
            assert row["scored_policy"] == other_model.identity


def test_an_answer_that_was_cut_off_has_no_score_and_is_counted(artifact, answers, tiny_model, other_model):
    rows, metrics, _ = score(artifact, answers, other_model, tiny_model)
    cut = [row for row in rows if row["finish_reason"] == "length"]
    assert cut, "the test needs some"
    assert all(row["score"] is None and row["policy_logp"] is None for row in cut)
    assert metrics["null"] == len(cut)
    assert metrics["scored"] == len(rows) - len(cut)


def test_a_row_that_is_too_long_has_no_score_instead_of_a_cut_one(artifact, answers, tiny_model, other_model):
    rows, metrics, _ = score(artifact, answers, other_model, tiny_model, max_tokens=5)
    assert all(row["score"] is None for row in rows)
    assert metrics["scored"] == 0


@pytest.mark.parametrize("at", [1, 3, 4, 5, 7])
def test_a_scoring_that_is_cut_off_in_or_between_its_passes_ends_with_the_same_bytes(
    artifact, tiny_model, other_model, monkeypatch, at
):
    answers = artifact(Completions)
    stage = Sample(n=70, temperature=1.0, max_new_tokens=9, seed=1, engine=HF())
    stage(prompts=artifact(Prompts, [prompt("a", "Hi"), prompt("b", "Rivers?")]), policy=tiny_model, out=answers)
    _, metrics, whole = score(artifact, answers, other_model, tiny_model)
    inputs, out = {"completions": answers, "policy": other_model, "reference": tiny_model}, artifact(Scores)
    calls, pass_on = [], ImplicitReward._logps

    def cut_off(*told):
        calls.append(told)
        if len(calls) == at:
            raise KeyboardInterrupt
        return pass_on(*told)

    monkeypatch.setattr(ImplicitReward, "_logps", cut_off)
    with pytest.raises(KeyboardInterrupt):
        ImplicitReward()(**inputs, out=out)
    assert ImplicitReward()(**inputs, out=out) == metrics
    names = [path.name for path in sorted(whole.path.glob("part-*"))]
    assert len(names) == 3
    for name in names:
        assert (out.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_one_model_is_in_memory_at_a_time(artifact, answers, tiny_model, other_model, monkeypatch):
    from stages.engines import models

    held, load = [], models._loaded
    monkeypatch.setattr(models, "_loaded", lambda *told: held.append(len(models._resident)) or load(*told))
    models.release()
    score(artifact, answers, other_model, tiny_model)
    assert held == [0, 0], "before either was loaded there was none"
    assert len(models._resident) == 1


def test_policy_and_reference_that_are_one_are_refused(artifact, answers, tiny_model):
    with pytest.raises(ValueError, match="every score would be 0"):
        score(artifact, answers, tiny_model, tiny_model)


def test_the_same_weights_under_another_name_give_exactly_zero_and_are_refused(artifact, answers, tiny_model, tmp_path):
    import shutil

    shutil.copytree(tiny_model.path, tmp_path / "twin")
    out = artifact(Scores)
    with pytest.raises(ValueError, match="every score is exactly 0"):
        ImplicitReward()(completions=answers, policy=Model(tmp_path / "twin"), reference=tiny_model, out=out)
    scores = [row["score"] for row in out.rows()]
    assert {score for score in scores if score is not None} == {0.0}


def test_a_reference_that_the_policy_was_not_trained_against_is_refused(artifact, answers, tiny_model, other_model):
    other_model.record_lineage(trained_from="x", trained_against="another")
    with pytest.raises(ValueError, match="not its DPO reward"):
        score(artifact, answers, other_model, tiny_model)
    score(artifact, answers, other_model, tiny_model, reference_is="fixed")
    other_model.record_lineage(trained_from="x", trained_against=tiny_model.identity)
    score(artifact, answers, other_model, tiny_model)


def test_the_noise_of_a_score_is_measured_and_small_in_float32(artifact, answers, tiny_model, other_model):
    rows, metrics, _ = score(artifact, answers, other_model, tiny_model)
    assert 0 <= metrics["noise"] < 1e-3
    assert {row["score_noise"] for row in rows} == {metrics["noise"]}


def test_the_scores_are_drawn(artifact, answers, tiny_model, other_model):
    _, _, out = score(artifact, answers, other_model, tiny_model)
    assert (out.plots / "reward_histogram.png").stat().st_size > 1000
