"""A reward model from outside: its own number for the whole conversation, whatever stands beside it in a batch."""

import pytest
import torch

from stages.artifacts import Completions, RewardModel, Scores
from stages.engines.classifiers import load_classifier, rewards
from stages.score.external import External
from stages.sources.reward import LocalReward
from tests.stages.rows import scored

ANSWERS = [
    "Yes.",
    "A much longer answer with many words, so that the others must be padded beside it.",
    "No, not at all.",
]


def save_classifier(source, path, **config):
    """A random sequence classifier with the tiny model's tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(3)
    settings = AutoConfig.from_pretrained(source.path)
    for name, value in {"num_labels": 1, "initializer_range": 0.2, **config}.items():
        setattr(settings, name, value)
    LlamaForSequenceClassification(settings).save_pretrained(path)
    AutoTokenizer.from_pretrained(source.path).save_pretrained(path)
    return str(path)


@pytest.fixture
def reward(artifact, tiny_model, tmp_path):
    out = artifact(RewardModel)
    LocalReward(path=save_classifier(tiny_model, tmp_path / "classifier"), dtype="float32")(out=out)
    return out


def rows_of(texts=ANSWERS, **more):
    return [scored("p", i, text, None, sampled_from="policy", **more) for i, text in enumerate(texts)]


def score(artifact, reward, rows, **fields):
    out = artifact(Scores)
    metrics = External(**fields)(completions=artifact(Completions, rows), reward=reward, out=out)
    return list(out.rows()), metrics


def forward(reward, row):
    """What plain transformers make of the row, by itself: (reward, tokens)."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(reward.path)
    model = AutoModelForSequenceClassification.from_pretrained(reward.path, dtype=torch.float32)
    text = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.no_grad():
        return model(input_ids=ids).logits[0, 0].item(), ids.shape[1]


def test_the_score_is_the_classifiers_output_for_the_conversation(artifact, reward):
    rows = rows_of()
    found, metrics = score(artifact, reward, rows)
    expected = [forward(reward, row)[0] for row in rows]
    assert max(expected) - min(expected) > 0.01, "the test needs answers that differ"
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-5)
    assert (metrics["scored"], metrics["null"]) == (3, 0)
    assert [row["null_reason"] for row in found] == [None] * 3


def test_every_turn_of_the_conversation_is_read(artifact, reward):
    turns = [{"role": r, "content": f"{r} said"} for r in ("system", "user", "assistant", "user")]
    rows = rows_of(prompt=turns)
    found, _ = score(artifact, reward, rows)
    assert [row["score"] for row in found] == pytest.approx([forward(reward, row)[0] for row in rows], abs=1e-5)
    short, _ = score(artifact, reward, rows_of(prompt=turns[-1:]))
    assert abs(found[0]["score"] - short[0]["score"]) > 1e-3


def test_padding_does_not_matter(artifact, reward):
    together, _ = score(artifact, reward, rows_of(), batch_tokens=100_000)
    alone, _ = score(artifact, reward, rows_of(), batch_tokens=1)
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], abs=1e-5)


def test_the_end_of_a_text_is_found_behind_padding_of_any_length(reward):
    model, _ = load_classifier(reward)
    short, long = [5, 6, 7], [*range(5, 60)]
    assert rewards(model, [short, long])[0] == pytest.approx(rewards(model, [short])[0], abs=1e-5)
    assert abs(rewards(model, [short])[0] - rewards(model, [[5, 6, 7, 8]])[0]) > 1e-4, "the last token counts"


def test_an_answer_that_was_cut_off_has_no_score(artifact, reward):
    rows = rows_of()
    rows[1]["finish_reason"] = "length"
    found, metrics = score(artifact, reward, rows)
    assert found[1]["score"] is None
    assert found[1]["null_reason"] == "truncated"
    assert metrics["null_truncated"] == metrics["null"] == 1
    whole, _ = score(artifact, reward, rows_of())
    assert [found[i]["score"] for i in (0, 2)] == pytest.approx([whole[i]["score"] for i in (0, 2)], abs=1e-5)


def test_what_is_too_long_has_no_score_and_is_never_cut(artifact, reward):
    rows = rows_of()
    lengths = [forward(reward, row)[1] for row in rows]
    assert lengths[1] == max(lengths)
    found, metrics = score(artifact, reward, rows, max_tokens=max(lengths) - 1)
    assert [row["null_reason"] for row in found] == [None, "overlong", None]
    assert [row["score"] is None for row in found] == [False, True, False]
    assert metrics["null_overlong"] == 1
    exactly, _ = score(artifact, reward, rows, max_tokens=max(lengths))
    assert exactly[1]["score"] == pytest.approx(forward(reward, rows[1])[0], abs=1e-5)


def test_nothing_that_fits_is_no_failure_of_the_reward_model(artifact, reward):
    found, metrics = score(artifact, reward, rows_of(), max_tokens=3)
    assert metrics == {"scored": 0, "null": 3, "null_overlong": 3}
    assert [row["score"] for row in found] == [None] * 3


@pytest.mark.parametrize("sampled_from", ["policy", None])
def test_its_labels_come_from_outside(artifact, reward, sampled_from):
    rows = [row | {"sampled_from": sampled_from or reward.identity} for row in rows_of()]
    rows[0]["finish_reason"] = "length"
    found, _ = score(artifact, reward, rows)
    assert [row["label_source"] for row in found] == ["outside"] * 3


def test_a_finished_part_is_kept(artifact, reward):
    rows = [scored(f"p{i}", 0, f"answer {i}", None) for i in range(300)]
    whole, _ = score(artifact, reward, rows)
    out = artifact(Scores)
    out.write_part(0, [{**row, "null_reason": "kept"} for row in whole[:64]])
    External()(completions=artifact(Completions, rows), reward=reward, out=out)
    resumed = list(out.rows())
    assert {row["null_reason"] for row in resumed[:64]} == {"kept"}
    assert resumed[64:] == whole[64:]


def test_batches_are_no_part_of_the_identity():
    assert External(batch_tokens=1) == External(batch_tokens=2)
    assert External(max_tokens=1) != External(max_tokens=2)


@pytest.mark.parametrize("outputs", [2, 3])
def test_more_than_one_output_is_refused_when_it_enters(artifact, tiny_model, tmp_path, outputs):
    path = save_classifier(tiny_model, tmp_path / "many", num_labels=outputs)
    with pytest.raises(ValueError, match=f"{outputs} outputs; a reward model has one"):
        LocalReward(path=path, dtype="float32")(out=artifact(RewardModel))


def test_more_than_one_output_is_refused_when_it_scores(artifact, tiny_model, tmp_path):
    save_classifier(tiny_model, tmp_path / "many", num_labels=2)
    with pytest.raises(ValueError, match="one output, this one has 2"):
        score(artifact, RewardModel(tmp_path / "many"), rows_of())


def test_a_model_without_a_head_is_refused(artifact, tiny_model, tmp_path):
    """Or transformers would give it a random one, and every label would be noise."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    path = tmp_path / "headless"
    AutoModelForCausalLM.from_pretrained(tiny_model.path).save_pretrained(path)
    AutoTokenizer.from_pretrained(tiny_model.path).save_pretrained(path)
    config = AutoConfig.from_pretrained(path)
    config.num_labels = 1
    config.save_pretrained(path)
    with pytest.raises(ValueError, match=r"score\.weight"):
        LocalReward(path=str(path), dtype="float32")(out=artifact(RewardModel))


def test_a_classifier_that_names_no_padding_gets_its_tokenizers(artifact, tiny_model, tmp_path):
    from transformers import AutoTokenizer

    out = artifact(RewardModel)
    path = save_classifier(tiny_model, tmp_path / "unpadded", pad_token_id=None)
    LocalReward(path=path, dtype="float32")(out=out)
    model, _ = load_classifier(out)
    assert model.config.pad_token_id == AutoTokenizer.from_pretrained(tiny_model.path).pad_token_id
    together, _ = score(artifact, out, rows_of())
    assert [row["score"] for row in together] == pytest.approx([forward(out, row)[0] for row in rows_of()], abs=1e-5)


def test_without_padding_anywhere_it_is_refused(artifact, tiny_model, tmp_path):
    save_classifier(tiny_model, tmp_path / "unpadded", pad_token_id=None)
    with pytest.raises(ValueError, match="pad_token_id"):
        score(artifact, RewardModel(tmp_path / "unpadded"), rows_of())


def test_a_classifier_needs_a_chat_template_or_is_given_one(artifact, tiny_model, tmp_path):
    path = save_classifier(tiny_model, tmp_path / "classifier")
    (tmp_path / "classifier/chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="no chat template"):
        LocalReward(path=path, dtype="float32")(out=artifact(RewardModel))
    out = artifact(RewardModel)
    template = "{% for message in messages %}{{ message['content'] }}|{% endfor %}"
    LocalReward(path=path, dtype="float32", chat_template=template)(out=out)
    found, _ = score(artifact, out, rows_of())
    assert [row["score"] for row in found] == pytest.approx([forward(out, row)[0] for row in rows_of()], abs=1e-5)


def test_it_is_kept_in_the_precision_that_the_recipe_names(artifact, tiny_model, tmp_path):
    from transformers import AutoModelForSequenceClassification

    path, out = save_classifier(tiny_model, tmp_path / "classifier"), artifact(RewardModel)
    LocalReward(path=path, dtype="bfloat16")(out=out)
    assert AutoModelForSequenceClassification.from_pretrained(out.path, dtype="auto").dtype == torch.bfloat16


def test_a_directory_is_known_by_its_contents(artifact, tiny_model, tmp_path):
    import shutil

    path = save_classifier(tiny_model, tmp_path / "classifier")
    shutil.copytree(path, tmp_path / "copy")
    planned = LocalReward(path=path, dtype="float32")
    assert planned == LocalReward(path=str(tmp_path / "copy"), dtype="float32")
    save_classifier(tiny_model, tmp_path / "classifier", rms_norm_eps=1e-3)
    assert planned != LocalReward(path=path, dtype="float32")
    with pytest.raises(ValueError, match="changed since it was planned"):
        planned(out=artifact(RewardModel))
