"""Weights that are not those of the checkpoint: refused by name when a model loads, never drawn at random."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.driving import answer, load
from tests.support.gguf_files import write_gguf
from tokencollab.engines.reward import RewardModel
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.errors import ModelRefused
from tokencollab.models import convert

Tensors = dict[str, torch.Tensor]
Build = Callable[..., Path]
Q = "model.layers.1.self_attn.q_proj.weight"
HEAD, NORM, EMBEDDING = "lm_head.weight", "model.norm.weight", "model.embed_tokens.weight"


@pytest.fixture
def folder(tiny_model: Build, tmp_path: Path) -> Path:
    """A tiny model that may be changed."""
    return Path(shutil.copytree(tiny_model("bytes"), tmp_path / "model"))


def change(folder: Path, weights: Callable[[Tensors], object] = lambda _: None, **config: object) -> Path:
    """Changes tensors of the checkpoint and entries of config.json."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    weights(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | config))
    return folder


def drop(*parts: str) -> Callable[[Tensors], object]:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if any(part in name for part in parts)]


def rename(new: Callable[[str], str]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({new(name): tensors.pop(name) for name in list(tensors)})


def add(more: Tensors) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update(more)


def put(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: make(tensors[name])})


def damage(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.index_put((torch.tensor(300), torch.tensor(3)), torch.tensor(value))


@pytest.mark.parametrize(
    ("weights", "config", "reason"),
    [
        (drop(HEAD), {}, rf"1 tensor missing \({HEAD}\)"),
        (drop(NORM), {}, rf"1 tensor missing \({NORM}\)"),
        (drop(Q), {}, rf"1 tensor missing \({Q}\)"),
        (drop("layers.1."), {}, r"9 tensors missing \(model\.layers\.1\.\S+, .*, \.\.\.\)$"),
        (drop(EMBEDDING), {}, rf"1 tensor missing \({EMBEDDING}\)"),
        (drop(EMBEDDING, HEAD), {"tie_word_embeddings": True}, r"missing"),
        (rename("module.{}".format), {}, r"21 tensors missing .*others that the model does not use, such as module"),
        (lambda tensors: tensors.clear(), {}, r"21 tensors missing or of another shape"),
        ((lambda _: None), {"num_hidden_layers": 3}, r"9 tensors missing \(model\.layers\.2\."),
        (add({Q.replace("weight", "bias"): torch.ones(32)}), {}, r"1 tensor without a place .*q_proj\.bias"),
        (put(NORM, lambda norm: norm[:8]), {}, rf"1 tensor of another shape \({NORM}\)"),
        ((lambda _: None), {"vocab_size": 700}, r"2 tensors of another shape"),
        ((lambda _: None), {"vocab_size": 100_000}, r"weights have [\d,]+: 2 tensors missing or of another shape"),
        ((lambda _: None), {"quantization_config": {"quant_method": "nope"}}, r"quantised by a method .*'nope'"),
        ((lambda _: None), {"quantization_config": {"bits": 4}}, r"cannot be loaded: ValueError"),
        ((lambda _: None), {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"cannot be loaded"),
        (put(Q, lambda q: q.to(torch.int8)), {}, rf"I8, and .* no quantisation: 1 tensor of I8 \({Q}\)"),
        (put(Q, lambda q: q.to(torch.float8_e4m3fn)), {}, r"1 tensor of F8_E4M3"),
        (put(Q, lambda q: q > 0), {}, r"1 tensor of BOOL"),
        (put(EMBEDDING, damage(float("nan"))), {}, rf"not finite .*1 tensor damaged \({EMBEDDING}\)"),
        (put(HEAD, damage(float("inf"))), {}, rf"not finite .*1 tensor damaged \({HEAD}\)"),
        (put(EMBEDDING, lambda weights: weights.double() * 1e300), {}, r"not finite"),
    ],
)
def test_weights_that_are_not_the_checkpoints(
    folder: Path, weights: Callable[[Tensors], object], config: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelRefused, match=reason) as caught:
        load(change(folder, weights, **config))
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_lacks_what_another_class_adds(tiny_model: Build, folder: Path) -> None:
    """A model that was saved without its head, and a language model as a reward model."""
    from transformers import AutoModel

    AutoModel.from_pretrained(tiny_model("bytes")).save_pretrained(folder)
    with pytest.raises(ModelRefused, match=rf"1 tensor missing \({HEAD}\)"):
        load(folder)
    with pytest.raises(ModelRefused, match="no weights for scoring"):
        RewardModel.from_folder(folder)


def test_a_lacking_shard(folder: Path) -> None:
    """The index names one file of two: what stands in the other is missing."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first = {name: tensor for name, tensor in tensors.items() if "layers.0." in name}
    save_file(first, folder / "a.safetensors", metadata={"format": "pt"})
    save_file({n: t for n, t in tensors.items() if n not in first}, folder / "b.safetensors", metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    where = {name: "a.safetensors" if name in first else "b.safetensors" for name in tensors}
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    load(folder)
    for lacking, reason in (({}, "missing"), ({n: f for n, f in where.items() if n in first}, "12 tensors missing")):
        index.write_text(json.dumps({"metadata": {}, "weight_map": lacking}))
        with pytest.raises(ModelRefused, match=reason):
            load(folder)


@pytest.mark.parametrize(
    ("weights", "config"),
    [
        (drop(HEAD), {"tie_word_embeddings": True}),
        (drop(EMBEDDING), {"tie_word_embeddings": True}),  # tied the other way round
        (add({f"vision_tower.{i}.weight": torch.ones(2) for i in range(30)}), {}),
        (add({"score.weight": torch.ones(1, 32), "step": torch.ones(1).long()}), {}),
        (add({"model.layers.2.mlp.up_proj.weight": torch.ones(2), "model.layers.0.attn.bias": torch.ones(2)}), {}),
        (add({"model.rotary_emb.inv_freq": torch.ones(4)}), {}),
        (add({"vision.weight": torch.ones(4).to(torch.uint8)}), {}),
        (lambda tensors: [put(name, torch.Tensor.bfloat16)(tensors) for name in list(tensors)], {}),
        (lambda tensors: [put(name, torch.Tensor.double)(tensors) for name in list(tensors)], {}),
    ],
)
def test_what_is_no_fault_of_a_checkpoint(
    folder: Path, weights: Callable[[Tensors], object], config: dict[str, object]
) -> None:
    assert answer({"a": load(change(folder, weights, **config))}, max_tokens=2).text


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (drop("score"), r"no weights for scoring"),
        (drop(NORM), rf"1 tensor missing \({NORM}\)|no weights"),
        (put("score.weight", lambda score: score * float("nan")), r"not finite .*score\.weight"),
        (put(Q, lambda q: q.to(torch.int8)), r"no quantisation: 1 tensor of I8"),
        (put("score.weight", lambda score: score[:, :5]), r"1 tensor of another shape \(score\.weight\)"),
    ],
)
def test_reward_models_alike(folder: Path, weights: Callable[[Tensors], object], reason: str) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig.from_pretrained(folder, num_labels=1)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    RewardModel.from_folder(folder)
    with pytest.raises(ModelRefused, match=reason) as caught:
        RewardModel.from_folder(change(folder, weights))
    assert len(str(caught.value).splitlines()) == 1


def test_a_gguf_file_that_lacks_a_tensor(
    tiny_model: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gguf import GGUFWriter

    whole = GGUFWriter.add_tensor

    def lacking(self: GGUFWriter, name: str, *tensor: object) -> None:
        if name != "blk.1.attn_q.weight":
            whole(self, name, *tensor)

    monkeypatch.setattr(GGUFWriter, "add_tensor", lacking)
    file = write_gguf(tiny_model("bytes"), tmp_path / "model.gguf", with_tokenizer=True)
    (tmp_path / "made").mkdir()
    monkeypatch.setattr("sys.argv", ["convert.py", str(file), str(tmp_path / "made")])
    assert convert.main() == convert.REFUSED
    assert f"the file is incomplete: 1 tensors are missing ({Q})" in capsys.readouterr().err
    assert not list((tmp_path / "made").glob("*.safetensors"))


def test_tables_that_no_memory_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda _: 1)
    with pytest.raises(ModelRefused, match=r"makes tables of 0\.0 GB, and this machine has 0\.0 GB"):
        TransformersEngine.from_folder("large", folder)
