"""The tokenizer: reproducible, small, without unknown words, and in the form that the text encoder calls."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from scripts.embedded.words.captions import training_caption
from scripts.embedded.words.tokenizer import MAX_TOKENS, VOCAB_SIZE, train_tokenizer
from scripts.embedded.words.unseen_phrasings import HELD_OUT
from streaming.config import TextConfig
from streaming.modules.text_encoder import TextEncoder

CAPTIONS = 4_000  # a fiftieth of the real run: the pieces are much the same


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(folder, seed=0, captions=CAPTIONS)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens_and_size(folder: Path, tokenizer: PreTrainedTokenizerBase):
    assert tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<unk>"]) == [0, 1, 2]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.padding_side) == (0, 1, "right")
    assert len(tokenizer) == VOCAB_SIZE
    assert sum(file.stat().st_size for file in folder.iterdir()) < 150_000


def test_every_text_ends_with_the_end_token_even_when_cut(tokenizer: PreTrainedTokenizerBase):
    assert tokenizer("")["input_ids"] == [1]
    batch = tokenizer(["gold", "gold " * 80], padding=True, truncation=True, max_length=MAX_TOKENS)
    short, long = batch["input_ids"]
    assert len(short) == len(long) == MAX_TOKENS
    assert long[-1] == 1
    assert short[-1] == 0
    assert short.count(1) == 1


def test_case_and_place_do_not_matter(tokenizer: PreTrainedTokenizerBase):
    gold = tokenizer("gold", add_special_tokens=False)["input_ids"]
    assert tokenizer("GOLD", add_special_tokens=False)["input_ids"] == gold
    assert tokenizer("solid gold", add_special_tokens=False)["input_ids"][-len(gold) :] == gold


@pytest.mark.parametrize("text", ["flibbertigibbet", "Ærøskøbing", "黄金の像", "🦓 <pad>x", "\x00\x7f"])
def test_no_text_holds_an_unknown_token(tokenizer: PreTrainedTokenizerBase, text: str):
    ids = tokenizer(text)["input_ids"]
    assert 2 not in ids
    assert len(ids) > 1


def test_captions_fit(tokenizer: PreTrainedTokenizerBase):
    rng = random.Random(9)
    lengths = [len(ids) for ids in tokenizer([training_caption(rng)[0] for _ in range(2000)])["input_ids"]]
    assert sum(length <= MAX_TOKENS for length in lengths) > 0.98 * len(lengths)
    assert all(len(ids) <= MAX_TOKENS for ids in tokenizer([text for text, _ in HELD_OUT])["input_ids"])


def test_another_process_writes_the_same_bytes(folder: Path, tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from scripts.embedded.words.tokenizer import train_tokenizer; "
        "train_tokenizer(Path(sys.argv[1]), seed=0, captions=int(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(CAPTIONS)], check=True)
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_text_encoder_takes_it(tokenizer: PreTrainedTokenizerBase):
    config = TextConfig(vocab_size=VOCAB_SIZE, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    encoder = TextEncoder(config, dim=8, text_len=MAX_TOKENS, tokenizer=tokenizer)
    with torch.no_grad():
        embeddings = encoder.encode(["", "a golden statue", "knitted " * 100])
    assert embeddings.shape == (3, MAX_TOKENS, 8)
    filled = embeddings.ne(0).any(-1).sum(-1).tolist()
    assert filled[0] == 1
    assert 2 < filled[1] < 8
    assert filled[2] == MAX_TOKENS
