"""What is measured on: the packaged model, and real pairs in their given order.

The shipped preference pairs are taken, or those of the file that the environment variable BENCH_PAIRS names (with the
columns prompt, chosen and rejected).
"""

import os
import random
import tempfile
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from stages.artifacts import Model, Pairs
from stages.engines.chat import answer_tokens, prompt_tokens
from stages.engines.models import end_of_turn, load_tokenizer
from stages.engines.packed import Sequenced
from stages.sources.gguf import PackagedGGUF
from stages.sources.local import LocalPairs

CACHE = Path(__file__).parent / "cache"
ROOT = Path(__file__).parent.parent


@cache
def small_model() -> Model:
    """SmolLM2-135M-Instruct in float32, unpacked once."""
    model = Model(CACHE / "smollm2_135m")
    if not (model.path / "generation_config.json").exists():
        model.path.mkdir(parents=True, exist_ok=True)
        conf = OmegaConf.load(ROOT / "conf/model/smollm2_135m.yaml")
        stage = conf.materials.sft.stage
        fields = {name: stage[name] for name in ("package", "version", "module", "file")}
        PackagedGGUF(**fields, dtype="float32")(out=model)
    return model


@cache
def preferences() -> Pairs:
    """Real preference pairs."""
    path = os.environ.get("BENCH_PAIRS", str(ROOT / "recipes/seed/preferences.jsonl"))
    pairs = Pairs(Path(tempfile.mkdtemp()))
    LocalPairs(path=path)(out=pairs)
    return pairs


@cache
def written_answers() -> tuple[Sequenced, ...]:
    """(prompt ids, ids of a written answer), both answers of every pair."""
    tokenizer, ends = load_tokenizer(small_model()), end_of_turn(small_model())
    return tuple(
        (prompt_tokens(tokenizer, row["prompt"]), answer_tokens(tokenizer, row["prompt"], row[side], ends))
        for row in preferences().rows()
        for side in ("chosen", "rejected")
    )


def many_answers(prompts: int, each: int, asked_tokens: int, mean: int, spread: int, seed: int = 0) -> list[Sequenced]:
    """The prompts nearest to ``asked_tokens`` tokens, with ``each`` answers of real text; the lengths of the answers,
    in tokens, are normally distributed (8 at least)."""
    draw = random.Random(seed)
    written = written_answers()
    text = [token for _, answer in written for token in answer[:-1]]
    asked = sorted(
        {tuple(prompt) for prompt, _ in written}, key=lambda prompt: (abs(len(prompt) - asked_tokens), prompt)
    )
    found: list[Sequenced] = []
    for prompt in asked[:prompts]:
        for _ in range(each):
            first, length = draw.randrange(len(text) - 1000), max(8, round(draw.gauss(mean, spread)))
            found.append((list(prompt), text[first : first + length]))
    return found
