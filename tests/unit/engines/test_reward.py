"""Reward models: transformers' own score of the conversation, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from tokencollab.engines.reward import RewardModel
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("user", "Why is the sky blue?"),)


def build(folder: Path, tokenizer_from: Path, labels: int) -> Path:
    """A reward model with random weights."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_labels=labels,
        initializer_range=0.4,
        pad_token_id=tokenizer.convert_tokens_to_ids("</s>"),
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
def test_the_score_is_that_of_transformers(tiny_model: Any, tmp_path: Path, labels: int, chat: bool) -> None:
    folder = build(tmp_path, tiny_model("bytes", chat=chat), labels)
    reward = RewardModel.from_folder(folder)
    texts = ["Because the air scatters blue light.", "no", "a b c " * 30]
    scores = reward.score(TURNS, texts)
    assert len(set(scores)) == 3
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForSequenceClassification.from_pretrained(folder)
    for text, score in zip(texts, scores, strict=True):
        turns = [{"role": "user", "content": TURNS[0].content}, {"role": "assistant", "content": text}]
        ids = (
            tokenizer.apply_chat_template(turns, return_dict=False)
            if chat
            else tokenizer(f"{TURNS[0].content}\n\n{text}")["input_ids"]
        )
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0]
        expected = torch.sigmoid(logits[0]) if labels == 1 else torch.softmax(logits, -1)[1]
        assert score == pytest.approx(float(expected), abs=1e-6)


def test_what_is_no_reward_model_is_refused(tiny_model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="no weights for scoring"):
        RewardModel.from_folder(tiny_model("bytes"))
    with pytest.raises(ModelRefused, match="1 or 2 outputs"):
        RewardModel.from_folder(build(tmp_path / "five", tiny_model("bytes"), 5))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        RewardModel.from_folder(tmp_path)
