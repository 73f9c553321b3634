"""The default engine: a causal language model of transformers, many sessions in one forward pass."""

from pathlib import Path

import torch

from tokencollab.engines.kv_cache import Segment
from tokencollab.engines.loading import LoadedModel, load
from tokencollab.engines.logits_engine import LogitsEngine
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.packing import packed_logits
from tokencollab.engines.positions import regime
from tokencollab.engines.session_pool import Session, SessionPool, default_budget
from tokencollab.errors import refused


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
        self._thresholds = model.thresholds

    @classmethod
    def from_folder(cls, name: str, folder: Path, options: EngineOptions | None = None) -> "TransformersEngine":
        """Loads the model in ``folder``; `ModelRefused` where `loading.load` or the tokenizer says so."""
        options = options or EngineOptions()
        with refused(f"{name}: {folder} cannot be loaded"):
            return cls(load(name, folder, options), options)

    def _admitted(self, wanted: list[Session], asked: list[Session]) -> list[Session]:
        """All of them; where a text has grown, or was cut back, past a threshold, its cache is computed anew."""
        for session in wanted if self._thresholds else ():
            here = regime(session.length, self._thresholds)
            if here != session.cache.regime:
                session.drop()
                session.cache.regime = here
        return wanted

    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        segments = [(Segment(session.cache, len(new), session.length), new) for session, new in work]
        return packed_logits(self._model, segments, every)
