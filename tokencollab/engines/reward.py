"""A reward model from a folder: transformers' sequence classification as a scorer of answers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tokencollab.engines.weights import check_weights, load_checkpoint, read_checkpoint
from tokencollab.errors import ModelRefused, refused
from tokencollab.protocol.messages import ChatMessage


class RewardModel:
    """A model that gives a conversation one number.

    One output is the reward itself, of which the logistic function is taken (scores from 0 to 1 can be summed); of two
    the probability of the second, as of a verifier.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> "RewardModel":
        """Loads safetensors and tokenizer of a folder; `ModelRefused`: it cannot be, or is no reward model."""
        path = Path(folder)
        with refused(f"the reward model in {path} cannot be loaded"):
            try:
                return cls._load(path)
            except ModelRefused as error:
                raise ModelRefused(f"the model in {path} is no reward model that can be used: {error}") from error

    @classmethod
    def _load(cls, path: Path) -> "RewardModel":
        from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415  (slow)

        tensors = read_checkpoint(path)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model, report = load_checkpoint(AutoModelForSequenceClassification, path, tensors)
        if any(not name.startswith(model.base_model_prefix) for name in report["missing_keys"]):
            raise ModelRefused("it has no weights for scoring")
        check_weights(model, report, tensors)
        if model.config.num_labels not in (1, 2):
            raise ModelRefused(f"a reward model has 1 or 2 outputs, this one has {model.config.num_labels}")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        return cls(model.eval(), tokenizer)

    def score(self, turns: Sequence[ChatMessage], texts: Sequence[str]) -> list[float]:
        """A score from 0 to 1 for each of ``texts`` as the answer to ``turns``."""
        rows = [self._ids(turns, text) for text in texts]
        scores: list[float] = []
        for row in rows:
            with torch.inference_mode():
                logits = self._model(input_ids=torch.tensor([row], device=self._model.device)).logits[0].float()
            scores.append(float(torch.sigmoid(logits[0]) if len(logits) == 1 else torch.softmax(logits, -1)[1]))
        return scores

    def _ids(self, turns: Sequence[ChatMessage], text: str) -> list[int]:
        """The conversation with the answer, in the model's own template; plain text where it has none."""
        if self._tokenizer.chat_template:
            whole = [
                *({"role": turn.role, "content": turn.content} for turn in turns),
                {"role": "assistant", "content": text},
            ]
            ids = self._tokenizer.apply_chat_template(whole, return_dict=False)
        else:
            ids = self._tokenizer("\n\n".join([*(turn.content for turn in turns), text]))["input_ids"]
        return list(ids[-self._longest :])

    @property
    def _longest(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 20)
