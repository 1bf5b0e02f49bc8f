"""One scale and shift per frame that bring an estimator's depth onto the scale of the frames before.

Networks that estimate relative depth judge every frame anew: where nothing moves, depth still comes out
nearer or flatter from one frame to the next, and a range for the whole chunk only makes that visible as
pulsing. What is to be compared is found in the picture: where it is still, depth has to be as it was.

    alignment = align(pictures, depth, before)        # of one chunk; before is None on the first
    aligned = alignment.scale * depth + alignment.shift
    before = alignment.after

All on a grid of some thousand cells and on the host: frames follow one another here, and many small steps are
quicker there than on any accelerator.

Stability: scale and shift are bounded, they forget (without evidence they return to 1 and 0 within seconds,
and with it they stay as close as the time constant allows), a still area that is too small counts for little,
and a cut of the scene starts afresh.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

STILL = 0.05  # difference of grey, in [-1, 1], at which a pixel counts as still by exp(-1): six grey levels
_FORGET_FRAMES = 32.0  # two seconds at 16 fps: slower than the range, which is to follow what remains
_FOLLOW = 0.2  # share of a frame in the still part of the reference: noise of one frame is averaged away
_ENOUGH_STILL = 0.2  # share of still cells from which on a fit has full confidence
_SCALE_PRIOR = 0.15  # spread of depth, as a share of the frame's, at which scale is half fitted, half kept
_MAX_SCALE, _MAX_SHIFT = 1.5, 4.0  # 1/1.5 ... 1.5; shift in spans of the frame
_CUT_CORRELATION, _CUT_STILL = (
    0.3,
    0.25,
)  # below both: another scene (measured: cuts < 0.2, fast motion > 0.4)
_NOISE = (4 / 127.5) ** 2  # variance of grey below which a picture shows nothing to compare
_MAX_GAIN, _BRIGHTNESS_ROUNDS = 2.0, 3
_SKIP = 2  # rows and columns from cell to cell of a fit: every fourth says as much
_ROUNDS = 2  # of fitting and giving less weight to what does not fit
_LEAST_SLOPE = 0.25  # a fit that says more than four times the scale expected has found noise


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the next frame is compared with; (h, w) each."""

    picture: Array
    depth: Array  # aligned
    scale: float
    shift: float


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What was found for the T frames of a chunk."""

    scale: Array  # (T,)
    shift: Array  # (T,)
    gain: Array  # (T,): gain * picture + offset has the brightness of the picture before
    offset: Array  # (T,)
    still: Array  # (T, h, w) 0 ... 1: like the picture before; 0 on a first frame or a cut
    moved: float  # mean |change| per frame of aligned depth where the picture is not still
    cuts: tuple[int, ...]  # frames that begin another scene than the frame before
    after: Reference


def align(pictures: Array, depth: Array, before: Reference | None, *, is_fixed: bool = False) -> Alignment:
    """`pictures` (grey, [-1, 1]) and `depth` (any unit, finite), both (T, h, w), of successive frames.

    `is_fixed`: the estimator's scale is known to be steady; scale and shift stay 1 and 0.
    """
    count = len(pictures)
    earlier = np.concatenate([(before.picture if before else pictures[0])[None], pictures[:-1]])
    gain, offset = _match_brightness(pictures, earlier)
    difference = gain[:, None, None] * pictures + offset[:, None, None] - earlier
    still = np.exp(-np.square(difference / STILL)).astype(np.float32)
    cuts = tuple(int(t) for t in np.flatnonzero(_is_cut(pictures, earlier, still)))
    starts = cuts if before else (0, *cuts)
    still[list(starts)] = 0

    scale, shift = np.ones(count, np.float32), np.zeros(count, np.float32)
    spans = _spans(depth)
    reference, moved = before, 0.0
    for t in range(count):
        a, b = 1.0, 0.0
        if reference and t not in starts and not is_fixed:
            a, b = _step(depth[t], still[t], spans[t], reference)
        scale[t], shift[t] = a, b
        aligned = a * depth[t] + b
        if reference and t not in starts:
            # Where still, a slow average; elsewhere what is there now.
            change = reference.depth - aligned
            moved += float(np.mean(np.abs(change) * (1 - still[t])))
            kept = aligned + (1 - _FOLLOW) * still[t] * change
        else:
            kept = aligned
        reference = Reference(pictures[t], kept, float(a), float(b))
    assert reference is not None
    return Alignment(scale, shift, gain, offset, still, moved / count, cuts, reference)


def fit(x: Array, y: Array, weight: Array, *, prior: float, prior_scale: float) -> tuple[float, float]:
    """Scale and shift with scale * x + shift closest to y, over the cells that agree with most others.

    Of the two, x is the noisier: its noise is what is minimised. The usual way round, noise in x would
    lower the scale, frame after frame. `prior` is the variance of y at which the scale is half fitted and
    half `prior_scale`, which must be above 0.
    """
    x, y, trust = x.ravel(), y.ravel(), weight.ravel()
    # What agrees is first judged with the scale that is expected, and by medians: whoever walked into the
    # picture must not bend the first fit.
    residual = y - prior_scale * x
    known = residual[trust > 0.5]
    known = known if len(known) else residual
    squared = np.square(residual - np.median(known))
    spread = 4 * float(np.median(np.square(known - np.median(known)))) + prior / 100
    scale, shift = prior_scale, 0.0
    for _ in range(_ROUNDS):
        trusted = trust / (1 + squared / (spread + 1e-12))
        total = float(trusted.sum()) + 1e-9
        mean_x, mean_y = float(trusted @ x) / total, float(trusted @ y) / total
        centred = y - mean_y
        pull = trusted * centred
        # Of the mean of x nothing remains in the covariance: what is centred once is centred.
        variance, covariance = float(pull @ centred) / total, float(pull @ x) / total
        slope = (covariance + prior / prior_scale + 1e-12) / (variance + prior + 1e-12 * prior_scale)
        scale = 1 / max(slope, _LEAST_SLOPE / prior_scale)
        shift = mean_y - scale * mean_x
        squared = np.square(scale * x + (shift - y))
        spread = 2.25 * float(trusted @ squared) / total
    return scale, shift


def _step(depth: Array, still: Array, span: float, reference: Reference) -> tuple[float, float]:
    """Scale and shift of one frame, bounded and drawn towards 1 and 0."""
    if span <= 0:
        return reference.scale, reference.shift
    # Around the frame's own middle: shift must not have to make up for what scale does.
    middle = float(np.mean(depth))
    some = (slice(None, None, _SKIP), slice(None, None, _SKIP))
    prior = (_SCALE_PRIOR * span * reference.scale) ** 2
    scale, level = fit(
        depth[some] - middle, reference.depth[some], still[some], prior=prior, prior_scale=reference.scale
    )
    confidence = min(1.0, float(still.mean()) / _ENOUGH_STILL)
    before = reference.scale * middle + reference.shift - middle
    scale = reference.scale + confidence * (scale - reference.scale)
    lift = before + confidence * (level - middle - before)
    keep = math.exp(-1 / _FORGET_FRAMES)
    scale = min(max(scale, 1 / _MAX_SCALE), _MAX_SCALE) ** keep
    lift = min(max(keep * lift, -_MAX_SHIFT * span), _MAX_SHIFT * span)
    return scale, lift + middle - scale * middle


def _match_brightness(pictures: Array, earlier: Array) -> tuple[Array, Array]:
    """Gain and offset, (T,) each, that undo what a camera's exposure did since the picture before."""
    x, y = (p[:, ::_SKIP, ::_SKIP].reshape(len(p), -1) for p in (pictures, earlier))
    weight = np.ones_like(x)
    gain, offset = np.ones(len(x), np.float32), np.zeros(len(x), np.float32)
    for _ in range(_BRIGHTNESS_ROUNDS):
        share = weight / weight.sum(1, keepdims=True)
        mean_x, mean_y = (share * x).sum(1, keepdims=True), (share * y).sum(1, keepdims=True)
        # The ratio of spreads: a regression would take motion for noise and lower the gain.
        variances = ((share * np.square(z - mean)).sum(1) + _NOISE for z, mean in ((y, mean_y), (x, mean_x)))
        gain = np.clip(np.sqrt(next(variances) / next(variances)), 1 / _MAX_GAIN, _MAX_GAIN)
        offset = mean_y[:, 0] - gain * mean_x[:, 0]
        residual = gain[:, None] * x + offset[:, None] - y
        # Motion is what does not fit; in a picture where all moves, half of it still gives the level.
        spread = np.median(np.abs(residual), axis=1, keepdims=True) + STILL / 10
        weight = 1 / (1 + np.square(residual / spread))
    return gain.astype(np.float32), offset.astype(np.float32)


def _is_cut(pictures: Array, earlier: Array, still: Array) -> NDArray[np.bool_]:
    """(T,): whether a picture shares nothing with the one before."""
    x, y = (p - p.mean((1, 2), keepdims=True) for p in (pictures, earlier))
    product = np.sqrt((np.square(x).mean((1, 2)) + _NOISE) * (np.square(y).mean((1, 2)) + _NOISE))
    correlation = ((x * y).mean((1, 2)) + _NOISE) / product
    return (correlation < _CUT_CORRELATION) & (still.mean((1, 2)) < _CUT_STILL)


def _spans(depth: Array) -> Array:
    """(T,): from far to near, without the outermost cells."""
    ordered = np.sort(depth.reshape(len(depth), -1), axis=1)
    edge = ordered.shape[1] // 50
    return ordered[:, -1 - edge] - ordered[:, edge]
