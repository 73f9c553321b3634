"""The real pair: SmolLM2-135M-Instruct and Gemma-3-270M, fetched on first use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tokencollab import Collaboration, EngineOptions

pytestmark = [pytest.mark.real, pytest.mark.slow]

BASE, OTHER = "smollm2-135m-instruct", "gemma-3-270m"
PROMPTS = [
    "Why is the sky blue?",
    "Write a haiku about rain.",
    "What is 17 times 23?",
    "def fibonacci(n):",
    "List three fruits, one per line.",
    "Translate to French: the cat sleeps.",
    "为什么天空是蓝色的？",
    "用中文写一首短诗。",
    "日本の首都はどこですか？",
    "한국의 수도는 어디입니까?",
    "Почему небо голубое?",
    "Напиши короткую сказку.",
    "لماذا السماء زرقاء؟",
    "מדוע השמיים כחולים?",
    "आसमान नीला क्यों है?",
    "Γιατί ο ουρανός είναι μπλε;",
    "ทำไมท้องฟ้าจึงเป็นสีฟ้า",
    "Repeat exactly: 🙂🎉👩‍🚀 café naïve Z̈",
    "Explain E = mc² to a child.",
    "¿Por qué el cielo es azul?",
    "x",
]


@asynccontextmanager
async def team(*collaborators: str, method: str = "base", base: str = BASE) -> AsyncIterator[Collaboration]:
    async with Collaboration(base, collaborators, method, options=EngineOptions(threads=1)) as together:
        yield together


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' own greedy generation: from a prompt to the new token ids, and the tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tokencollab.models.resolve import resolve

    torch.set_num_threads(1)  # threads that wait for each other crawl when the machine is busy
    folder = Path(resolve(BASE).folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def generate(prompt: str, tokens: int) -> list[int]:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        written = model.generate(ids, do_sample=False, max_new_tokens=tokens)
        new: list[int] = written[0, ids.shape[1] :].tolist()
        return new

    return generate, tokenizer


def ids_of(pieces: tuple[bytes | None, ...], tokenizer: Any) -> list[int]:
    """Token ids of the pieces that the model wrote alone, one token each."""
    from tokencollab.engines.text.vocabulary import read_vocabulary

    vocabulary = read_vocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))
    return [tokenizer.eos_token_id if piece is None else vocabulary.id_of[piece] for piece in pieces]


async def test_the_base_alone_is_greedy_generate_token_for_token(reference: Any) -> None:
    generate, tokenizer = reference
    async with team() as together:
        answers = await asyncio.gather(*(together.generate(prompt, max_tokens=20) for prompt in PROMPTS))
        for prompt, answer in zip(PROMPTS, answers, strict=True):
            assert ids_of(answer.pieces, tokenizer) == generate(prompt, 20), prompt
            assert answer.forwarded[BASE] == 1.0
        for prompt, answer in list(zip(PROMPTS, answers, strict=True))[::7]:
            assert (await together.generate(prompt, max_tokens=20)).pieces == answer.pieces


@pytest.mark.parametrize("method", ["duetnet", "unite"])
async def test_a_model_with_its_own_copy_gives_what_it_gives_alone(method: str) -> None:
    async with team() as single, team(BASE, method=method) as twins:
        for prompt in PROMPTS[:7:6]:
            alone, both = [await t.generate(prompt, max_tokens=16) for t in (single, twins)]
            assert alone.pieces == both.pieces
            assert both.agreed == both.together


@pytest.mark.parametrize("method", ["duetnet", "unite", "bytewise"])
async def test_two_different_models_write_whole_text_and_keep_their_caches(method: str) -> None:
    async with team(OTHER, method=method) as pair:
        for prompt in (PROMPTS[6], PROMPTS[17]):
            stream = pair.stream(prompt, max_tokens=24)
            texts = [token.text async for token in stream]
            answer = stream.answer
            assert "".join(texts) == answer.text
            assert answer.text == b"".join(piece or b"" for piece in answer.pieces).decode("utf-8", "replace")
            assert all(tokens <= 4.0 for tokens in answer.forwarded.values()), answer.forwarded
        english = await pair.generate(PROMPTS[0], max_tokens=48)
        assert all(tokens <= 1.5 for tokens in english.forwarded.values()), english.forwarded


@pytest.mark.ray
async def test_ray_gives_the_same_text_and_seed() -> None:
    async with (
        Collaboration(BASE, [OTHER], "upara-8", top_t=2) as here,
        Collaboration(BASE, [OTHER], "upara-8", top_t=2, runtime="ray") as there,
    ):
        first = await here.generate(PROMPTS[0], max_tokens=16, seed=7)
        assert (await there.generate(PROMPTS[0], max_tokens=16, seed=7)).pieces == first.pieces
        assert (await here.generate(PROMPTS[0], max_tokens=16, seed=7)).pieces == first.pieces
