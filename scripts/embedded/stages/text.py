"""The text encoder alone, when the generator is done: however something is asked for, the generator shall
read the same.

    train_text(run, tokenizer_folder, batch=256)

Beside pictures the encoder meets a few hundred thousand captions, and of most words few misspellings. Alone
it meets millions. What it is to give follows from the generator, which stays as it is: its cross-attention,
asked with the queries of real clips, shall find in a misspelt caption what it found in the right one; and in
one that was taken for another look, what it found in the plain one ("blue wool, brick wall background").
"""

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from scripts.embedded.checkpoints import load_checkpoint, save_checkpoint
from scripts.embedded.data.sequences import PLAIN, Pool, SequenceMaker, Stock
from scripts.embedded.optimizers import Optimizers
from scripts.embedded.scenes.looks import LOOKS, Paint
from scripts.embedded.stages.autoencoder import load_autoencoder
from scripts.embedded.stages.generator import load_generator
from scripts.embedded.stages.lessons import Lessons
from scripts.embedded.stages.teacher import predict_flow
from scripts.embedded.training import Ema, Log, Run, Stage, train
from scripts.embedded.words.captions import DEFAULT, plain_caption, slips, training_caption, typed_and_meant
from scripts.embedded.words.unseen_phrasings import HELD_OUT
from streaming.checkpoints.presets import EMBEDDED, Preset
from streaming.kernels.attention import attend
from streaming.modules.causal_model import CrossAttention
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.text_encoder import TextEncoder

RATE = 2e-4  # at 1e-3 it forgets more than it learns: in 100 steps the error rose by a fifth
QUERIED = Pool(batch=4, size=24, draws=1.0, scenes=2, paints=4)  # clips whose queries are recorded
_ASKED = 24  # queries a step, the same for all captions of it
_KEPT = 512  # queries of each attention that are recorded
SLIPS = 300  # phrases with a typo, of the judge
JUDGED = slice(96)  # queries by which texts are told apart: by a dozen, shares change by a tenth


class Reader:
    """What the generator finds in a caption: its cross-attentions' answers to recorded queries."""

    def __init__(self, transformer: CausalVaceWanModel, queries: Sequence[Tensor]) -> None:
        """`queries`: (Q, N, D) for each of `attentions(transformer)`."""
        self._transformer = transformer
        self._attentions = attentions(transformer)
        self._queries = list(queries)
        self._spread = [torch.ones((), device=q.device) for q in queries]

    def measure(self, encoder: TextEncoder, texts: Sequence[str]) -> None:
        """From now on every attention's answers are in units of their spread over `texts`."""
        self._spread = [
            answers.std() * spread
            for answers, spread in zip(self.read(encoder, texts), self._spread, strict=True)
        ]

    def read(self, encoder: TextEncoder, texts: Sequence[str], asked: slice = slice(_ASKED)) -> Tensor:
        """(attentions, B, Q, E) for B texts and the queries `asked`."""
        embedded = self._transformer.embed_text(encoder.encode(list(texts)))
        answers = []
        for attention, q, spread in zip(self._attentions, self._queries, self._spread, strict=True):
            # Copied for every text: not every kernel takes queries that share their memory.
            queries = q[asked].expand(len(texts), -1, -1, -1).contiguous()
            found = attend(queries, *attention.keys_values(embedded)).flatten(2)
            answers.append(attention.o(found) / spread)
        return torch.stack(answers)

    @torch.no_grad()
    def nearest(self, encoder: TextEncoder, texts: Sequence[str], plain: Tensor) -> list[int]:
        """For each text the number of the reading in `plain` (attentions, P, Q, E) that comes closest."""
        found: list[int] = []
        for begin in range(0, len(texts), 64):
            read = self.read(encoder, texts[begin : begin + 64], JUDGED)
            found += apart(read, plain).argmin(1).tolist()
        return found


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Distances (A, B) of readings (attentions, A, Q, E) from readings (attentions, B, Q, E)."""
    return torch.cdist(a.transpose(0, 1).flatten(1), b.transpose(0, 1).flatten(1))


def attentions(model: CausalVaceWanModel) -> list[CrossAttention]:
    """All places where the generator reads the prompt."""
    return [block.cross_attn for block in (*model.blocks, *model.vace_blocks)]


@torch.no_grad()
def record_queries(
    transformer: CausalVaceWanModel,
    stock: Stock,
    lessons: Lessons,
    preset: Preset,
    *,
    batches: int = 8,
) -> list[Tensor]:
    """What the generator asks its prompts while it denoises clips: (_KEPT, N, D) of each place."""
    found: list[list[Tensor]] = [[] for _ in attentions(transformer)]
    hooks = []
    for place, attention in enumerate(attentions(transformer)):

        def note(module: nn.Module, given: tuple[Tensor, ...], place: int = place) -> None:
            assert isinstance(module, CrossAttention)
            rows = given[0].flatten(0, 1)
            rows = rows[torch.randint(len(rows), (_KEPT // batches,), device=rows.device)]
            found[place].append(module.heads(module.norm_q(module.q(rows[None])))[0])

        hooks.append(attention.register_forward_pre_hook(note))
    for _ in range(batches):
        lesson, *_ = lessons.lesson(stock.draw(QUERIED.batch, PLAIN), 0)
        predict_flow(transformer, lesson, preset.window)
    for hook in hooks:
        hook.remove()
    return [torch.cat(parts) for parts in found]


def train_text(run: Run, tokenizer_folder: Path, *, batch: int, preset: Preset = EMBEDDED) -> None:
    """Train the text encoder in the checkpoint `run.out`/generator, in place, on `batch` captions a step.

    One process; raises ValueError for more. The log's `unseen` and `slips` are shares of HELD_OUT phrasings
    and of phrases with a typo that the generator reads most like the plain name of their look.
    """
    if run.world.size > 1:
        raise ValueError(f"the text stage runs in one process, not under torchrun with {run.world.size}")
    device = run.world.device
    torch.manual_seed(run.seed)
    generator = load_generator(run.out, tokenizer_folder, preset, device)
    model = generator.transformer
    maker = SequenceMaker(
        load_autoencoder(run.out, device),
        generator.text_encoder.tokenizer,
        text_len=preset.transformer.text_len,
        height=preset.height,
        width=preset.width,
        seed=run.seed,
    )
    stock = Stock(maker, QUERIED, random.Random(run.seed))
    reader = Reader(model, record_queries(model, stock, Lessons(generator, device), preset))
    teacher, encoder = copy.deepcopy(generator.text_encoder), generator.text_encoder.requires_grad_(True)
    rng = random.Random(run.seed)
    with torch.no_grad():
        reader.measure(teacher, [training_caption(rng)[0] for _ in range(batch)])
    ema, judge = Ema(encoder, 0.998), _Judge(reader, teacher)

    def step(_: int) -> tuple[Tensor, ...]:
        typed, meant, paints = zip(*(typed_and_meant(rng) for _ in range(batch)), strict=True)
        first = rng.randrange(_KEPT - _ASKED)
        asked = slice(first, first + _ASKED)
        with torch.no_grad():
            wanted = wanted_reading(reader, teacher, meant, paints, asked)
        loss = (reader.read(encoder, typed, asked) - wanted).square().mean()
        loss.backward()
        return (loss.detach(),)

    def save(_: int) -> None:
        ema.copy_to(encoder)
        _save(run.out, encoder)

    Log(run.out / "text.jsonl", run.world)(step=0, **judge(encoder))
    stage = Stage(
        name="text",
        model=encoder,
        ema=ema,
        before=0,
        optimizers=Optimizers(encoder.parameters(), adam_rate=RATE, adam_decay=0.0),
        step=step,
        figures=("loss",),
        rate=lambda budget: budget.cosine_rate(warm_up=100),
        save=save,
        report_every=500,
        more=lambda: judge(encoder),
    )
    train(stage, run)


def wanted_reading(
    reader: Reader, teacher: TextEncoder, meant: Sequence[str], paints: Sequence[Paint], asked: slice
) -> Tensor:
    """What shall be read in captions: (attentions, B, Q, E).

    What the generator reads there now, or it would have to be taught anew; but what it reads in the plain
    caption, where it takes one for another look.
    """
    own = reader.read(teacher, meant, asked)
    # The default is left as it is: beside references an empty prompt means nothing, and not "white clay".
    texts = [
        text if paint == DEFAULT else plain_caption(paint) for text, paint in zip(meant, paints, strict=True)
    ]
    plain = reader.read(teacher, texts, asked)
    look = torch.tensor([LOOKS.index(paint.look) for paint in paints], device=own.device)
    is_right = look[apart(own, plain).argmin(1)] == look
    return torch.where(is_right[:, None, None], own, plain)


class _Judge:
    """How many texts are read most like the plain name of their look."""

    def __init__(self, reader: Reader, teacher: TextEncoder) -> None:
        self._reader = reader
        with torch.no_grad():
            self._plain = reader.read(teacher, [plain_caption(Paint(look)) for look in LOOKS], JUDGED)
        self._texts = {
            "unseen": [(text, paint.look) for text, paint in HELD_OUT if paint == Paint(paint.look)],
            "slips": slips(SLIPS, random.Random(5)),
        }

    def __call__(self, encoder: TextEncoder) -> dict[str, float]:
        shares = {}
        for name, rows in self._texts.items():
            found = self._reader.nearest(encoder, [text for text, _ in rows], self._plain)
            right = [LOOKS[number] == look for number, (_, look) in zip(found, rows, strict=True)]
            shares[name] = sum(right) / len(right)
        return shares


def _save(out: Path, encoder: TextEncoder) -> None:
    found = load_checkpoint(out / "generator")
    assert found is not None  # it was loaded from there
    tensors, meta = found
    for name, value in encoder.named_parameters():
        tensors[f"model.text_encoder.{name}"] = value.detach()
        tensors[f"ema.text_encoder.{name}"] = value.detach().half()
    save_checkpoint(out / "generator", tensors, meta)
