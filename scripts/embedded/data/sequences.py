"""Training data of the generator: streams of a few chunks as latents, kept on the device and drawn several
times."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from scripts.embedded.constants import constant
from scripts.embedded.data.camera import camera_pictures, gray_of
from scripts.embedded.data.clips import degraded, depth_clips, followed, pulled, region_masks, uneven
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.scenes.looks import Paint, duotone, paint
from scripts.embedded.scenes.shape import shape_of
from scripts.embedded.words.captions import blank_caption, caption, training_caption
from scripts.embedded.words.typing_habits import IN_TRAINING
from streaming.blocks.reference_images import fit_reference
from streaming.blocks.vace_encoding import mask_latents
from streaming.config import CHUNK_LATENTS
from streaming.modules.taehv import TAEHV

CHUNKS = 3  # sink, the one before, the one that is made: seen from a chunk, a stream never looks otherwise
STARTS = (0, 9, 21, 33)  # frames
VARIANTS = 16  # captions of a clip, about one for each time that it is drawn
PLAIN, MASKED, REFERRED = range(3)
SCALES = (0.0, 0.5, 1.5)  # strengths of guidance beside 1, a twentieth of the clips each; so is any between
SWITCHED = 0.25  # share of clips whose prompt changes
STARTED = 0.25  # share of clips, but for those with references, that start from the camera ...
LEAST_NOISE = 0.6  # ... with so much noise at least
# Shares of the scenes whose gray says nothing, whose depth says nothing, and of which one of both says less.
NO_GRAY, NO_DEPTH, LESS_GRAY, LESS_DEPTH = 0.2, 0.07, 0.15, 0.08
KIND_SHARES = {PLAIN: 0.66, MASKED: 0.14, REFERRED: 0.2}


@dataclass(slots=True)
class Sequences:
    """N clips; latents in float16."""

    reactive: Tensor  # (N, L, C, h, w): what VACE is to follow
    inactive: Tensor  # (N, L, C, h, w): what it is to keep
    mask: Tensor  # (N, L, s * s, h, w)
    target: Tensor  # (N, L, C, h, w)
    camera: Tensor  # (N, L, C, h, w): what the camera saw
    noise: Tensor  # (N,) float32: the noise scale at which chunks start from the camera; 1: from noise alone
    references: Tensor  # (N, 2, C, h, w); meaningless unless kind is REFERRED
    tokens: Tensor  # (N, VARIANTS, 2, text_len) int32, before and after the switch
    switch: Tensor  # (N,) int64: the first chunk under the second prompt; CHUNKS: none
    scale: Tensor  # (N,) float32
    kind: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.kind)

    def put(self, at: Tensor | slice, other: "Sequences") -> None:
        for name in Sequences.__slots__:
            getattr(self, name)[at] = getattr(other, name)

    def __getitem__(self, at: Tensor) -> "Sequences":
        return Sequences(*(getattr(self, name)[at] for name in Sequences.__slots__))


class SequenceMaker:
    """Renders, paints and encodes new clips."""

    def __init__(
        self,
        autoencoder: TAEHV,
        tokenizer: PreTrainedTokenizerBase,
        *,
        text_len: int,
        height: int,
        width: int,
        seed: int,
        photographs: Photographs | None = None,
        gap_after: int | None = STARTS[1],
        switched: float = SWITCHED,
        started: float = STARTED,
    ) -> None:
        """`photographs`: what the camera sees beside rendered scenes. `gap_after`: frames after which half of
        the clips jump to a later time. `switched`: share of clips whose prompt changes. `started`: share of
        clips that start from the camera."""
        self._gap, self._switched, self._started = gap_after, switched, started
        self._autoencoder = autoencoder
        self._tokenizer = tokenizer
        self._text_len = text_len
        self._height, self._width = height, width
        self._device = next(autoencoder.parameters()).device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._rng = random.Random(seed)
        self._photographs = photographs or Photographs.none(self._device)
        self._empty = self._encode(torch.zeros(1, STARTS[-1], 3, height, width, device=self._device))

    def make(self, scenes: int, paints: int, kind: int) -> Sequences:
        """`scenes` times `paints` clips of one kind."""
        return self.pictured(scenes, paints, kind)[0]

    @torch.no_grad()
    def pictured(self, scenes: int, paints: int, kind: int) -> tuple[Sequences, Tensor, Tensor]:
        """The same with their true pictures and the camera's, both (N, T, 3, H, W) in [-1, 1]."""
        count = scenes * paints
        depth, surface, where = depth_clips(
            scenes, STARTS[-1], self._generator, height=self._height, width=self._width, gap_after=self._gap
        )
        camera = camera_pictures(surface, where, self._generator, self._photographs)
        depth = uneven(depth, self._generator)
        depth_gain, gray_gain = self._gains(scenes)
        # What a control shows is drawn nearer to mid-grey where it says less; pictures follow what is shown.
        gray = _weakened(gray_of(camera), gray_gain)
        seen = _weakened(degraded(depth, self._generator), depth_gain)
        depth = _weakened(depth, depth_gain)
        scale = torch.ones(count, device=self._device)
        if kind == PLAIN:
            draw = self._uniform(count)
            for n, value in enumerate(SCALES):
                scale[(draw >= 0.05 * n) & (draw < 0.05 * (n + 1))] = value
            scale = torch.where(draw > 0.95, SCALES[-1] * self._uniform(count), scale)
        effective = followed(depth.repeat_interleave(paints, 0), scale)
        followed_gray = _weakened(gray.repeat_interleave(paints, 0), scale)
        camera = camera.repeat_interleave(paints, 0)
        prompts = [self._prompts() for _ in range(count)]
        noise = [1.0] * count
        references = self._empty[:, :2].expand(count, -1, -1, -1, -1)
        if kind == REFERRED:
            painted, references, prompts = self._referred(effective, followed_gray, prompts)
        else:
            painted = self._painted(effective, followed_gray, prompts)
            noise = [self._noise_scale() for _ in range(count)]
        control = torch.stack([seen, gray, gray], 2) * 2 - 1
        latents = CHUNK_LATENTS * CHUNKS
        if kind == MASKED:
            mask = region_masks(effective, self._generator)[:, None, None]
            # The neighbour of this maker's camera is a render; what it keeps may be anything, so often a
            # painting.
            other = painted.roll(1, 0)
            camera = torch.where((self._uniform(count, 1, 1, 1, 1) < 0.3), other, camera)
            control = control.repeat_interleave(paints, 0)
            painted = pulled(painted, camera, noise) * mask + camera * (1 - mask)
            reactive = self._encode(control * mask)
            inactive = self._encode(camera * (1 - mask))
            per_pixel = mask_latents(mask, time_stride=1, space_stride=self._autoencoder.config.space_stride)
            channels = per_pixel.expand(-1, latents, -1, -1, -1)
            seen_by_camera = self._encode(camera)
        else:
            painted = pulled(painted, camera, noise)
            reactive = self._encode(control).repeat_interleave(paints, 0)
            inactive = self._empty.expand(count, -1, -1, -1, -1)
            stride = self._autoencoder.config.space_stride
            channels = reactive.new_ones(count, latents, stride**2, *reactive.shape[3:])
            seen_by_camera = self._encode(camera[::paints]).repeat_interleave(paints, 0)
        clips = Sequences(
            reactive=reactive,
            inactive=inactive,
            mask=channels.half(),
            target=self._encode(painted),
            camera=seen_by_camera,
            noise=torch.tensor(noise).to(self._device, non_blocking=True),
            references=references,
            tokens=torch.stack([tokens for _, tokens, _ in prompts]).to(self._device, non_blocking=True),
            switch=torch.tensor([switch for *_, switch in prompts]).to(self._device, non_blocking=True),
            scale=scale,
            kind=torch.full((count,), kind, device=self._device),
        )
        return clips, painted, camera

    def _gains(self, scenes: int) -> tuple[Tensor, Tensor]:
        """How much of depth and of gray the control shows, (scenes,) in [0, 1] each; one of both is 1."""
        draw, less = self._uniform(scenes), self._uniform(scenes)
        gray, depth = torch.ones_like(draw), torch.ones_like(draw)
        bounds = (0.0, NO_GRAY, NO_GRAY + LESS_GRAY, NO_GRAY + LESS_GRAY + NO_DEPTH)
        gray = torch.where(draw < bounds[2], less, gray)
        gray = torch.where(draw < bounds[1], 0.0, gray)
        depth = torch.where((draw >= bounds[3]) & (draw < bounds[3] + LESS_DEPTH), less, depth)
        depth = torch.where((draw >= bounds[2]) & (draw < bounds[3]), 0.0, depth)
        return depth, gray

    def _noise_scale(self) -> float:
        is_started = self._rng.random() < self._started
        return self._rng.uniform(LEAST_NOISE, 1.0) if is_started else 1.0

    def _prompts(self) -> tuple[tuple[Paint, Paint], Tensor, int]:
        """Two paints, their tokens (VARIANTS, 2, text_len), and when the second takes over."""
        is_switched = self._rng.random() < self._switched
        (first_text, first), (second_text, second) = (
            training_caption(self._rng, IN_TRAINING) for _ in range(2)
        )
        if not is_switched:
            second_text, second = first_text, first
        texts = [first_text, second_text]
        for _ in range(VARIANTS - 1):
            texts += [caption(first, self._rng, IN_TRAINING), caption(second, self._rng, IN_TRAINING)]
        switch = self._rng.randrange(1, CHUNKS) if is_switched else CHUNKS
        return (first, second), self.tokens(texts).unflatten(0, (VARIANTS, 2)), switch

    def tokens(self, texts: list[str]) -> Tensor:
        """(N, text_len) int32, padded with the tokenizer's padding token."""
        ids = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=self._text_len, return_tensors="pt"
        )["input_ids"]
        assert isinstance(ids, Tensor)
        return ids.int()

    def _painted(
        self, depth: Tensor, gray: Tensor, prompts: list[tuple[tuple[Paint, Paint], Tensor, int]]
    ) -> Tensor:
        picture = paint(depth, [paints[0] for paints, *_ in prompts], gray)
        for n, (paints, _, switch) in enumerate(prompts):
            if switch < CHUNKS:
                rest = slice(n, n + 1), slice(STARTS[switch], None)
                picture[n, STARTS[switch] :] = paint(depth[rest], [paints[1]], gray[rest])[0]
        return picture

    def _referred(
        self, depth: Tensor, gray: Tensor, prompts: list[tuple[tuple[Paint, Paint], Tensor, int]]
    ) -> tuple[Tensor, Tensor, list[tuple[tuple[Paint, Paint], Tensor, int]]]:
        """Clips that follow a picture: its look, or three colours taken from it, whatever the prompt says."""
        count = len(depth)
        pictured, *_ = depth_clips(2 * count, 1, self._generator, height=self._height, width=self._width)
        colours = self._uniform(count, 3, 3)
        order = (colours * constant((0.3, 0.59, 0.11), colours.device)).sum(2).argsort(1)
        colours = colours.gather(1, order[:, :, None].expand(-1, -1, 3))
        colours = colours * constant((0.5, 1.0, 1.0), colours.device)[None, :, None]
        colours[:, 2] = colours[:, 2] * 0.5 + 0.5
        of_look = self._uniform(count) < 0.5
        both = [paints[0] for paints, *_ in prompts]
        target = torch.where(
            of_look[:, None, None, None, None],
            paint(depth, both, gray),
            duotone(shape_of(depth, gray), colours) * 2 - 1,
        )
        shown_look = paint(pictured, [p for p in both for _ in range(2)])
        twice = colours.repeat_interleave(2, 0)
        shown_tones = duotone(shape_of(pictured), twice) * 2 - 1
        blotches = torch.randn(2 * count, 3, 5, 8, generator=self._generator, device=self._device)
        size = (self._height, self._width)
        area = torch.nn.functional.interpolate(blotches, size=size, mode="bicubic").argmax(1)
        abstract = twice[torch.arange(2 * count, device=self._device)[:, None, None], area].movedim(-1, 1)[
            :, None
        ]
        is_abstract = self._uniform(2 * count, 1, 1, 1, 1) < 0.4
        shown_tones = torch.where(is_abstract, abstract * 2 - 1, shown_tones)
        shown = torch.where(of_look.repeat_interleave(2)[:, None, None, None, None], shown_look, shown_tones)
        for n in range(len(shown)):
            if self._rng.random() < 0.25:  # of another shape, and so with white beside it
                narrow = int(self._width * self._rng.uniform(0.4, 0.9))
                shown[n, 0] = fit_reference(shown[n, 0, :, :, :narrow], self._height, self._width)
        references = self._encode(shown).unflatten(0, (count, 2))[:, :, 0]
        retold: list[tuple[tuple[Paint, Paint], Tensor, int]] = []
        for (first, _), tokens, _ in prompts:
            draw = self._rng.random()
            if draw < 0.5:
                tokens = self.tokens([blank_caption(self._rng) for _ in range(2 * VARIANTS)]).unflatten(
                    0, (-1, 2)
                )
            elif draw < 0.75:
                texts = [training_caption(self._rng, IN_TRAINING)[0] for _ in range(2 * VARIANTS)]
                tokens = self.tokens(texts).unflatten(0, (-1, 2))
            retold.append(((first, first), tokens, CHUNKS))
        return target, references, retold

    def _encode(self, video: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            latents, _ = self._autoencoder.encode(video, None)
        return latents.half()

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, device=self._device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How many clips are kept on the device, and how they are used up."""

    batch: int  # clips, or crops of clips, of a step
    size: int  # clips that are kept
    draws: float  # how often a clip is drawn on average before another takes its place
    scenes: int  # made together ...
    paints: int  # ... and each of them painted in so many ways

    @property
    def fresh(self) -> int:
        """Clips that are made together."""
        return self.scenes * self.paints


class Renewal:
    """When new clips are to be made, so that each is drawn as often as asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._owed = 0.0

    def due(self, draws: float) -> int:
        """How often to make `pool.fresh` clips before the next batch, for so many draws of each."""
        self._owed += self._pool.batch / draws
        due, self._owed = divmod(self._owed, self._pool.fresh)
        return int(due)


class Stock:
    """A pool of clips on the device, renewed in turn, from which batches are drawn."""

    def __init__(self, maker: SequenceMaker, pool: Pool, rng: random.Random) -> None:
        self.rng, self.made = rng, 0
        self._maker, self._pool = maker, pool
        self._size = max(pool.size - pool.size % pool.fresh, 3 * pool.fresh)
        first = maker.make(pool.scenes, pool.paints, PLAIN)
        self._clips = Sequences(
            *(
                torch.zeros(
                    self._size, *getattr(first, name).shape[1:], dtype=value.dtype, device=value.device
                )
                for name in Sequences.__slots__
                if isinstance(value := getattr(first, name), Tensor)
            )
        )
        self._kinds = torch.full((self._size,), -1)
        self._put(first, PLAIN)
        for kind in (MASKED, REFERRED):
            self.renew(kind)

    @property
    def is_full(self) -> bool:
        return self.made >= self._size

    def renew(self, kind: int | None = None) -> None:
        """Make clips of one kind, drawn by its share if none is named, in place of the oldest."""
        if kind is None:
            kind = self.rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]
        self._put(self._maker.make(self._pool.scenes, self._pool.paints, kind), kind)

    def _put(self, clips: Sequences, kind: int) -> None:
        first = self.made % self._size
        self._clips.put(slice(first, first + len(clips)), clips)
        self._kinds[first : first + len(clips)] = kind
        self.made += len(clips)

    def draw(self, count: int, kind: int) -> Sequences:
        """Clips with references (REFERRED) or without (PLAIN: masked ones among them), with one caption each:
        tokens are (N, 2, text_len)."""
        is_referred = self._kinds == REFERRED
        wanted = is_referred if kind == REFERRED and is_referred.any() else (self._kinds >= 0) & ~is_referred
        candidates = wanted.nonzero()[:, 0]
        at = candidates[torch.tensor([self.rng.randrange(len(candidates)) for _ in range(count)])]
        drawn = self._clips[at.to(self._clips.kind.device, non_blocking=True)]
        drawn.tokens = drawn.tokens[:, self.rng.randrange(VARIANTS)]
        return drawn


def _weakened(picture: Tensor, gain: Tensor) -> Tensor:
    """(B, T, H, W) in [0, 1] with `gain` (B,) times its distance from mid-grey, which says nothing."""
    return 0.5 + gain[:, None, None, None] * (picture - 0.5)
