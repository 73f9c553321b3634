"""The default engine: a causal language model of transformers, many sessions in one forward pass."""

from pathlib import Path

import torch

from tokencollab.engines.kv_cache import Segment, packed
from tokencollab.engines.loading import LoadedModel, load
from tokencollab.engines.logits_engine import LogitsEngine
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.session_pool import Session, SessionPool, default_budget


class TransformersEngine(LogitsEngine):
    def __init__(self, model: LoadedModel, options: EngineOptions) -> None:
        device = model.model.device
        budget = options.kv_megabytes * 1_000_000 if options.kv_megabytes else default_budget(device)
        super().__init__(
            model.info,
            model.tokenizer,
            model.vocabulary,
            SessionPool(model.kv_bytes_per_token, budget),
            prefill_chunk=options.prefill_chunk,
            template=options.template,
            device=device,
        )
        self._model = model.model

    @classmethod
    def from_folder(cls, name: str, folder: Path, options: EngineOptions | None = None) -> "TransformersEngine":
        """Loads the model in ``folder``; `ModelRefused` where `loading.load` or the tokenizer says so."""
        options = options or EngineOptions()
        return cls(load(name, folder, options), options)

    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        device = self._model.device
        row = [token for _, new in work for token in new]
        starts = [session.cache.length for session, _ in work]
        positions = [start + i for start, (_, new) in zip(starts, work, strict=True) for i in range(len(new))]
        ends = torch.tensor([len(new) for _, new in work], device=device).cumsum(0) - 1
        with torch.inference_mode(), packed([Segment(session.cache, len(new)) for session, new in work]):
            output = self._model(
                input_ids=torch.tensor([row], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                logits_to_keep=0 if every else ends,
            )
            logits: torch.Tensor = output.logits[0].float()
        return logits
