"""Trains the specialists: one command, one seed, one core.

    python -m examples.specialists.train arith-bytes --out DIR
    python -m examples.specialists.train all --out DIR

The number of steps is fixed and the data follow from the seed, so the result does not depend on how fast or how busy
the machine is. Recipe, learning curves and figures are in docs/specialists.md.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from examples.specialists.cuts import CONTEXT, make_tokenizer
from examples.specialists.data import Example, Teacher
from examples.specialists.recipes import RECIPES, Recipe
from tokencollab.evaluation.simplemath import simplemath

CURVE_SEED = 424242  # of the problems that the learning curve is measured on


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast to learn.

    Drills alone come first; then three sequences in four are whole problems. The learning rate rises over
    ``warmup`` steps, stays until half time, and falls in a straight line to ``last`` of itself.
    """

    steps: int
    drill_share: float = 0.25  # of the steps
    batch: int = 32  # sequences
    rate: float = 2.5e-3  # of AdamW, for embeddings and norms
    matrix_rate: float = 5e-3  # of Muon, for the matrices between them
    last: float = 0.02
    warmup: int = 150
    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.02
    check_every: int = 250

    def pace(self, step: int) -> float:
        """The part of the learning rates that is used at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        left = min(1.0, 2 * (self.steps - step) / self.steps)
        return self.last + (1 - self.last) * left

    def drills_at(self, step: int) -> int:
        """How many sequences of a step's batch are drills."""
        return self.batch if step < self.drill_share * self.steps else self.batch // 4


def train(recipe: Recipe, course: Course, folder: Path) -> None:
    """Trains one specialist and writes it to ``folder``, which is made if it is not there."""
    torch.set_num_threads(1)  # sums in another order would end in other weights
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(recipe.cut)
    teacher = Teacher(recipe, tokenizer)
    model = new_model(tokenizer)
    # Weights are bfloat16, their updates too small for it: a float32 master takes these.
    masters = [weights.detach().float().requires_grad_() for weights in model.parameters()]
    for weights in model.parameters():  # and not the positions' frequencies, as model.to() would
        weights.data = weights.data.bfloat16()
    learning = [(optimizer, optimizer.param_groups[0]["lr"]) for optimizer in _optimizers(model, masters, course)]
    curve, losses, begun = [], [], time.monotonic()
    for step in range(course.steps):
        drills = course.drills_at(step)
        loss = loss_of(model, teacher.drills(drills) + teacher.problems(course.batch - drills))
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        for master, weights in zip(masters, model.parameters(), strict=True):
            master.grad, weights.grad = weights.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        for optimizer, rate in learning:
            optimizer.param_groups[0]["lr"] = rate * course.pace(step)
            optimizer.step()
        with torch.no_grad():
            for master, weights in zip(masters, model.parameters(), strict=True):
                weights.copy_(master)
        if (step + 1) % course.check_every == 0 or step + 1 == course.steps:
            point = {"step": step + 1, "loss": round(sum(losses) / len(losses), 4), **measure(model, tokenizer)}
            curve.append(point)
            losses.clear()
            print(recipe.name, json.dumps(point), f"{time.monotonic() - begun:.0f} s", flush=True)
    save(model, tokenizer, folder)
    record = {"recipe": asdict(recipe), "course": asdict(course), "curve": curve, "torch": torch.__version__}
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _optimizers(model: Any, masters: list[torch.Tensor], course: Course) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, whose updates it makes orthogonal; AdamW for the rest."""
    names = [name for name, _ in model.named_parameters()]
    matrices = [weights for name, weights in zip(names, masters, strict=True) if name.endswith("proj.weight")]
    others = [weights for name, weights in zip(names, masters, strict=True) if not name.endswith("proj.weight")]
    return [
        torch.optim.Muon(matrices, lr=course.matrix_rate, weight_decay=course.decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=course.rate, betas=course.betas, weight_decay=course.decay, fused=True),
    ]


def new_model(tokenizer: Any) -> Any:
    """A Llama of about 0.8 million parameters with random weights."""
    ALL_ATTENTION_FUNCTIONS.register("float32", _float32_attention)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_implementation="float32",
    )
    return LlamaForCausalLM(config)


def _float32_attention(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    scaling: float = 1.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention written out: on a CPU faster than the library's backward pass in bfloat16, and more exact."""
    length = query.shape[-2]
    future = torch.full((length, length), -math.inf).triu(1)
    weights = ((query.float() * scaling) @ key.float().transpose(-1, -2) + future).softmax(-1)
    return (weights @ value.float()).to(query.dtype).transpose(1, 2), None


def loss_of(model: Any, examples: Sequence[Example]) -> torch.Tensor:
    """Mean cross entropy (nats) of the tokens that are to be learnt."""
    logits, wanted = _answers(model, examples)
    return functional.cross_entropy(logits, wanted)


def _answers(model: Any, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits (float32) before each token that is to be learnt, and these tokens, sequence after sequence."""
    width = max(len(ids) for ids, _ in examples)
    # What stands behind a sequence's end is seen by none of its tokens.
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in examples])
    learn = torch.tensor([learn + [False] * (width - len(learn)) for _, learn in examples])
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    return model.lm_head(hidden[learn[:, 1:]]).float(), ids[:, 1:][learn[:, 1:]]


def measure(model: Any, tokenizer: Any) -> dict[str, float]:
    """Shares of 200 held-out problems: written exactly as they should be; and of their results, by operation.

    A problem counts if every token of its true working is the model's first choice after the true tokens before
    it, which is when greedy decoding writes that working. A result counts likewise, given all before it.
    """
    backend = tokenizer.backend_tokenizer
    problems = simplemath(200, CURVE_SEED)
    examples: list[Example] = []
    for problem in problems:
        prompt = [tokenizer.bos_token_id, *backend.encode(problem.question + "\n").ids]
        answer = [*backend.encode(problem.working).ids, tokenizer.eos_token_id]
        examples.append((prompt + answer, [False] * len(prompt) + [True] * len(answer)))
    with torch.inference_mode():
        logits, wanted = _answers(model, examples)
    hits = iter((logits.argmax(-1) == wanted).tolist())
    tokens = iter(wanted.tolist())
    equals, semicolon = backend.token_to_id("="), backend.token_to_id(";")
    right: dict[str, list[bool]] = {"problems": [], "products": [], "sums": [], "differences": []}
    for _, learn in examples:
        results = [True] * 5
        number, inside, whole = 0, False, True
        for token, hit in islice(zip(tokens, hits, strict=True), sum(learn)):
            whole = whole and hit
            if inside:
                results[number] = results[number] and hit
            number += token == semicolon
            inside = (inside or token == equals) and token != semicolon
        right["problems"].append(whole)
        right["products"] += results[:2]
        right["sums"] += results[2:4]
        right["differences"] += results[4:]
    return {what: round(sum(cases) / len(cases), 4) for what, cases in right.items()}


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Config, weights (bfloat16 safetensors) and tokenizer, as transformers loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    end = tokenizer.eos_token_id
    model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes its files private


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m examples.specialists.train", description=__doc__)
    parser.add_argument("name", choices=[*RECIPES, "all"], help="which specialist")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="written to DIR/NAME")
    parser.add_argument("--steps", type=int, metavar="N", help="instead of those of the recipe")
    chosen = parser.parse_args(arguments)
    logging.disable_progress_bar()
    for name in RECIPES if chosen.name == "all" else [chosen.name]:
        train(RECIPES[name], Course(chosen.steps or RECIPES[name].steps), chosen.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
