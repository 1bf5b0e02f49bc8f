"""The tokenizer of the text-to-look model: a byte-level BPE over captions, small enough to ship.

train_tokenizer(Path("tokenizer"), seed=0)
tokenizer = AutoTokenizer.from_pretrained("tokenizer")
"""

import random
import string
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Lowercase, Sequence
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from scripts.embedded.words.captions import training_caption

VOCAB_SIZE = 1024
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # ids 0, 1, 2
MAX_TOKENS = 32


def _texts(seed: int, captions: int) -> Iterator[str]:
    yield from string.ascii_lowercase
    rng = random.Random(seed)
    for _ in range(captions):
        yield training_caption(rng)[0]


def train_tokenizer(folder: Path, seed: int, *, captions: int = 200_000) -> None:
    """Train on `captions` training captions and write `folder` for `AutoTokenizer.from_pretrained`.

    Text is lower-cased; every text ends with </s>; any byte has a token, so <unk> never comes up. The same
    arguments write the same bytes.
    """
    tokenizer = Tokenizer(BPE(unk_token=None))
    tokenizer.normalizer = Sequence([NFC(), Lowercase()])  # pyright: ignore[reportAttributeAccessIssue]
    # With a space in front, a word has the same pieces at the start of a prompt as inside it.
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = ByteLevelDecoder()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, captions), trainer)
    tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="right",
        model_max_length=MAX_TOKENS,
    ).save_pretrained(folder)
