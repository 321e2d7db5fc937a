"""Numbers that go wrong stop the step, before anything of them is kept."""

import math

import pytest
import torch

from stages.artifacts import Completions, Model, Pairs, RewardModel, Scores
from stages.engines.hf import HF
from stages.generate.sample import Sample
from stages.pairs.extremes import Extremes
from stages.pairs.joined import Joined
from stages.pairs.logprobs import LogProbs
from stages.pairs.margin import Margin
from stages.pairs.replay import Replay
from stages.pairs.tiers import Tiers
from stages.score.implicit import ImplicitReward
from stages.score.summary import STUCK, summary
from stages.sources.models import LocalModel
from stages.sources.reward import LocalReward
from stages.train.dpo import DPO
from stages.train.objectives import Sigmoid
from stages.train.training import Execution
from tests.stages.rows import pair, prompt, scored
from tests.stages.test_dpo import PAIRS

NO_NUMBERS = [math.nan, math.inf, -math.inf]


def spoiled(model, path, value=math.nan):
    """The model with one weight that is no number."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)
    with torch.no_grad():
        next(weights.parameters())[3, 1] = value
    weights.save_pretrained(path)
    AutoTokenizer.from_pretrained(model.path).save_pretrained(path)
    return Model(path)


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("column", ["score", "policy_logp", "reference_logp", "score_noise"])
def test_a_score_that_is_no_number_is_never_written_and_the_row_is_named(artifact, value, column):
    out = artifact(Scores)
    rows = [scored("a", 0, "one", 1.0), scored("b", 7, "two", 2.0) | {column: value}]
    with pytest.raises(ValueError, match=rf"row 1 .*prompt_id 'b', sample 7.*{column} is -?(nan|inf).*Likely causes"):
        out.write_part(0, rows)
    assert list(out.path.iterdir()) == []


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_vote_or_a_margin_that_is_no_number_is_never_written(artifact, value):
    with pytest.raises(ValueError, match="votes is"):
        artifact(Scores).write([scored("a", 0, "one", 1.0, votes=[1.0, None, value])])
    with pytest.raises(ValueError, match="margin is"):
        artifact(Pairs).write([pair("a", margin=value)])


def test_parts_that_were_whole_before_a_number_went_wrong_stay(artifact):
    out = artifact(Scores)
    out.write_part(0, [scored("a", 0, "one", 1.0)])
    with pytest.raises(ValueError, match="score is nan"):
        out.write_part(1, [scored("b", 0, "two", math.nan)])
    assert [row["prompt_id"] for row in out.rows()] == ["a"]


@pytest.mark.parametrize("value", [0.0, 3.0, -1.5])
def test_scores_that_are_all_equal_stop_the_step_and_say_what_may_be_behind_it(artifact, value):
    out = artifact(Scores, [scored(f"p{i}", 0, "text", value) for i in range(STUCK)])
    with pytest.raises(ValueError, match=rf"every score is exactly {value:g} \({STUCK} scores, .*Likely causes"):
        summary(out, "points", floor=0.2)


def test_a_few_equal_scores_are_chance(artifact):
    out = artifact(Scores, [scored(f"p{i}", 0, "text", 3.0) for i in range(STUCK - 1)])
    assert summary(out, "points", floor=0.2)["saturation"] == 1


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_model_with_a_weight_that_is_no_number_never_enters_a_loop(artifact, tiny_model, tmp_path, value):
    path, out = spoiled(tiny_model, tmp_path / "spoiled", value).path, artifact(Model)
    with pytest.raises(ValueError, match=r"1 of \d+ numbers of model.embed_tokens.weight are not finite"):
        LocalModel(path=str(path), dtype="float32")(out=out)
    assert list(out.path.iterdir()) == []


def test_a_reward_model_with_a_weight_that_is_no_number_never_enters_a_loop(artifact, tiny_model, tmp_path):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig.from_pretrained(tiny_model.path, num_labels=1)
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        model.score.weight[0, 0] = math.nan
    model.save_pretrained(tmp_path / "reward")
    AutoTokenizer.from_pretrained(tiny_model.path).save_pretrained(tmp_path / "reward")
    with pytest.raises(ValueError, match=r"1 of 32 numbers of score.weight are not finite"):
        LocalReward(path=str(tmp_path / "reward"), dtype="float32")(out=artifact(RewardModel))


def test_a_model_that_says_no_numbers_draws_scores_and_compares_nothing(artifact, tiny_model, tmp_path):
    broken = spoiled(tiny_model, tmp_path / "spoiled")
    with torch.no_grad():
        from stages.engines.models import load_model

        load_model(broken).lm_head.weight[:] = math.nan
    prompts = artifact(Completions, [prompt("a", "Why?")])
    for temperature, top_p in ((0, 1.0), (1, 1.0), (1, 0.5)):
        stage = Sample(n=1, temperature=temperature, top_p=top_p, max_new_tokens=4, seed=0, engine=HF())
        with pytest.raises(ValueError, match="the model's logits are NaN"):
            stage(prompts=prompts, policy=broken, out=artifact(Completions))
    with pytest.raises(ValueError, match="logits are not finite"):
        LogProbs()(pairs=artifact(Pairs, PAIRS), model=broken, out=artifact(Pairs))
    answers = artifact(Completions, [scored("a", 0, "An answer.", None)])
    with pytest.raises(ValueError, match="logits are not finite"):
        ImplicitReward()(completions=answers, policy=broken, reference=tiny_model, out=artifact(Scores))


def gradient_gone(monkeypatch, at):
    """From this step on the loss has a gradient of NaN, though it is a number itself."""
    from stages.train.pair_objective import PairObjective

    plain, called = PairObjective.__call__, []

    class Gone(torch.autograd.Function):
        @staticmethod
        def forward(context, loss):
            return loss.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * math.nan

    def spoiled_loss(self, model, inputs, progress, memory):
        loss, told = plain(self, model, inputs, progress, memory)
        called.append(progress)
        return (Gone.apply(loss) if len(called) >= at else loss), told

    monkeypatch.setattr(PairObjective, "__call__", spoiled_loss)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_gradient_that_is_no_number_stops_before_its_weights_are_saved_or_checkpointed(
    artifact, tiny_model, monkeypatch, at
):
    from safetensors.torch import load_file

    gradient_gone(monkeypatch, at)
    out = artifact(Model)
    stage = DPO(
        loss=Sigmoid(beta=0.1),
        learning_rate=1e-3,
        max_steps=5,
        batch=4,
        execution=Execution(micro_batch=4, checkpoint_every=1),
    )
    with pytest.raises(ValueError, match=rf"grad_norm is nan at step {at}; .*Likely causes"):
        stage(pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model, out=out)
    assert not list(out.path.glob("*.safetensors"))
    kept = sorted(out.scratch.glob("checkpoint-*"))
    assert [folder.name for folder in kept] == ([f"checkpoint-{at - 1}"] if at > 1 else [])
    for folder in kept:
        for weights in load_file(folder / "model.safetensors").values():
            assert weights.isfinite().all()
        assert "NaN" not in (folder / "trainer_state.json").read_text()


def test_weights_that_are_no_numbers_after_training_are_not_saved(artifact, tiny_model):
    from transformers import AutoModelForCausalLM

    from stages.train.saving import save

    trained = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.float32)
    with torch.no_grad():
        trained.lm_head.weight[0, 0] = math.inf
    out = artifact(Model)
    settings = DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=1, batch=4)
    with pytest.raises(ValueError, match=r"the trained model: 1 of \d+ numbers of .* are not finite"):
        save(trained, trained.state_dict(), settings, tiny_model, out)
    assert list(out.path.iterdir()) == []


TEXTS = ["a first answer", "a second answer", "a third answer", "a fourth answer"]
NO_PAIR = {
    "cut off": ([{"finish_reason": "length"}] * 4, "truncated 8.*max_new_tokens"),
    "empty": ([{"completion": [{"role": "assistant", "content": " \n"}]}] * 4, "empty 8.*nearly empty"),
    "overlong": ([{"completion": [{"role": "assistant", "content": "x" * 7000}]}] * 4, "overlong 8.*too long"),
    "unscored": ([{"score": None}] * 4, "unscored 8.*without a score"),
    "alike": ([{"completion": [{"role": "assistant", "content": "the same"}]}] * 4, "duplicate 6.*temperature"),
    "tied": ([{"score": 1.0}] * 4, "ties 2.*equal or closer than their noise"),
}


@pytest.mark.parametrize("miner", [Extremes, Tiers])
@pytest.mark.parametrize("why", NO_PAIR)
def test_where_every_pair_is_dropped_the_miner_counts_by_reason_and_says_the_likely_cause(artifact, miner, why):
    changes, message = NO_PAIR[why]
    rows = [
        {**scored(name, place, TEXTS[place], float(place)), **changes[place]} for name in "ab" for place in range(4)
    ]
    with pytest.raises(ValueError, match=rf"no pair is left of 2 prompts: .*{message}"):
        miner(n=4)(scores=artifact(Scores, rows), out=artifact(Pairs))


def test_no_pair_at_all_stops_every_stage_that_mixes_or_filters(artifact):
    none, one = artifact(Pairs, []), artifact(Pairs, [pair("a")])
    for mined, pool in ((none, none), (none, one), (one, none)):
        with pytest.raises(ValueError, match=r"no pair is left: of \d mined and \d offline.*Likely causes"):
            Replay(offline=0.5, seed=0)(mined=mined, pool=pool, out=artifact(Pairs))
    with pytest.raises(ValueError, match="no pair is left"):
        Joined(most=0.1, seed=0)(pairs=none, more=one, out=artifact(Pairs))
    with pytest.raises(ValueError, match="no pair is left"):
        Margin(window=(0, 1))(pairs=none, out=artifact(Pairs))


def test_a_metric_that_is_no_number_stops_the_step_and_is_named(tmp_path):
    from loops.worker import _finite

    with pytest.raises(ValueError, match="the metric noise is nan"):
        _finite({"fine": 1.0, "noise": math.nan})


def test_a_prompt_that_the_model_cannot_read_is_named(artifact, tiny_model):
    prompts = artifact(Completions, [prompt("short", "Why?"), prompt("endless", "why " * 50_000)])
    stage = Sample(n=1, temperature=0, max_new_tokens=4, seed=0, engine=HF())
    with pytest.raises(ValueError, match=r"prompt 'endless' has [\d,]+ tokens, and the model reads 512"):
        stage(prompts=prompts, policy=tiny_model, out=artifact(Completions))
