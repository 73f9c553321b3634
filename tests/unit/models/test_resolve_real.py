"""The two real models, fetched if they are not here: the converted folder is the GGUF file, bit for bit."""

import pytest

from tokencollab.models.resolve import list_models, resolve

TEXTS = (
    "Why is the sky blue?",
    "12345 + 678 = 13.5\n\n\tdef f(x):\n    return x ** 2",
    "日本語のテキスト 你好，世界 한국어",
    "Привет, мир! مرحبا שלום नमस्ते ไทย",
    "👩‍👩‍👧 e\u0301 \u200b\x00",
    "<|im_start|>user\nhi<|im_end|><|endoftext|><bos><eos><unk>",
)

# What the GGUF files' own tokenizers give: ids of TEXTS[0]; bos, eos, unk, pad; whether there is a template; the ends.
EXPECTED = {
    "smollm2-135m-instruct": ([4898, 314, 260, 6376, 4461, 47], (1, 2, 0, 2), True, [2, 4]),
    "gemma-3-270m": ([2, 11355, 563, 506, 7217, 3730, 236881], (2, 1, 3, 0), False, [1]),
}


@pytest.mark.real
@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_model_is_fetched_and_loads(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # seconds to import

    files = resolve(name)
    tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
    ids, special, template, ends = EXPECTED[name]
    assert tokenizer(TEXTS[0])["input_ids"] == ids
    found = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    assert found == special
    assert bool(tokenizer.chat_template) is template
    for text in TEXTS:  # bytes survive the tokenizer in every script
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    model = AutoModelForCausalLM.from_pretrained(files.folder, trust_remote_code=False, use_safetensors=True)
    assert str(model.dtype) == "torch.float32"
    assert model.generation_config.eos_token_id == ends
    assert [row.installed for row in list_models() if row.name == name] == [True]
