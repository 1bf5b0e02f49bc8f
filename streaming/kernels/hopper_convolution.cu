// Causal convolution over (T, H, W) with a kernel of 3x3x3, bf16 with float32 sums, for Hopper's tensor cores (sm_90a).
//
// before (B, 2, H, W, C): the two frames before x; x (B, T, H, W, C); out (B, T, H, W, O). Zeros around every frame.
// weight: tiles as they lie in shared memory, see `pack` in hopper_convolution.py; bias (O,) float32.
//
// A tile of the result is 8x32 pixels of one frame and N outputs. Of each frame that it sees, CA channels at a time are
// brought into shared memory once, with their border of one pixel, as planes of 8 channels: 9 taps then read the
// same bytes from 9 places. (The library fetches them 9 times, which costs all of L2's bandwidth at 96 channels.)
// One warpgroup fetches, two multiply; a block works on one tile after the other.
//
// The host defines C, O, N, CA (channels fetched at a time), KB (of them, weights fetched at a time), B_STAGES, and
// ACCUMULATORS and OPERANDS, the text of N / 2 registers for inline assembly.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short bf16;

constexpr int TY = 8, TX = 32, HY = TY + 2, HX = TX + 2, A_STAGES = 2;
constexpr int PLANE = HY * HX * 16 + 80;  // bytes; padded so that neighbours in a pixel lie in different banks
constexpr int A_BYTES = CA / 8 * PLANE, B_BYTES = KB * N * 2;
constexpr int A_STEPS = 3 * (C / CA), TAPS = 9, B_PER_TAP = CA / KB, B_STEPS = A_STEPS * TAPS * B_PER_TAP;
constexpr int FETCHERS = 96;  // threads that fetch pixels: three warps, the fourth fetches weights
static_assert(C % CA == 0 && CA % KB == 0 && KB % 16 == 0 && O % N == 0 && FETCHERS % (CA / 8) == 0);
static_assert(PLANE % 128 == 16);

__device__ __forceinline__ void barrier_init(u32 bar, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count));
}
__device__ __forceinline__ void arrive(u32 bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void wait(u32 bar, u32 parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra out;\n"
        "bra again;\nout:\n}" ::"r"(bar), "r"(parity) : "memory");
}

// Of a matrix in shared memory: 8 rows of 16 bytes lie together, `along` bytes lead to the next 8 values of
// each row, `across` to the next 8 rows; not swizzled.
__device__ __forceinline__ u64 matrix(u32 along, u32 across) {
    return (u64)(along >> 4) << 16 | (u64)(across >> 4) << 32;
}
__device__ __forceinline__ u64 at(u64 matrix, u32 address) { return matrix | (u64)(address >> 4); }

__device__ __forceinline__ void multiply_add(float (&d)[N / 2], u64 a, u64 b, int adds) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %" STRING(FLAG) ", 0;\n"
        "wgmma.mma_async.sync.aligned.m64n" STRING(N) "k16.f32.bf16.bf16 {" ACCUMULATORS "}, %" STRING(DESC_A)
        ", %" STRING(DESC_B) ", p, 1, 1, 0, 0;\n}\n"
        : OPERANDS
        : "l"(a), "l"(b), "r"(adds));
}

struct Tile { int batch, t, y, x, part; };
__device__ __forceinline__ Tile tile_of(int index, int T, int rows, int columns) {
    // Frames of one place first: they share what they read.
    Tile tile;
    tile.t = index % T; index /= T;
    tile.part = index % (O / N); index /= O / N;
    tile.x = index % columns * TX; index /= columns;
    tile.y = index % rows * TY; tile.batch = index / rows;
    return tile;
}

extern "C" __global__ void __launch_bounds__(384, 1)
convolve(const bf16* __restrict__ before, const bf16* __restrict__ x, const bf16* __restrict__ weight,
         const float* __restrict__ bias, bf16* __restrict__ out, int B, int T, int H, int W) {
    extern __shared__ __align__(128) char memory[];
    const u32 a_base = (u32)__cvta_generic_to_shared(memory), b_base = a_base + A_STAGES * A_BYTES;
    const u32 bars = b_base + B_STAGES * B_BYTES;
    const u32 a_full = bars, a_empty = a_full + 8 * A_STAGES, b_full = a_empty + 8 * A_STAGES,
              b_empty = b_full + 8 * B_STAGES;
    const int rows = (H + TY - 1) / TY, columns = (W + TX - 1) / TX, tiles = B * T * rows * columns * (O / N);
    const int group = threadIdx.x / 128, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;

    if (threadIdx.x == 0) {
        for (int s = 0; s < A_STAGES; s++) { barrier_init(a_full + 8 * s, FETCHERS); barrier_init(a_empty + 8 * s, 8); }
        for (int s = 0; s < B_STAGES; s++) { barrier_init(b_full + 8 * s, 1); barrier_init(b_empty + 8 * s, 8); }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();

    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        if (warp == 0) {
            if (lane != 0) return;
            int stage = 0; u32 parity = 1;
            for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
                const char* from = (const char*)weight + (u64)(index / T % (O / N)) * B_STEPS * B_BYTES;
                for (int step = 0; step < B_STEPS; step++, from += B_BYTES) {
                    wait(b_empty + 8 * stage, parity);
                    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b_full + 8 * stage),
                                 "r"(B_BYTES) : "memory");
                    asm volatile(
                        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
                        "r"(b_base + stage * B_BYTES), "l"(from), "r"(B_BYTES), "r"(b_full + 8 * stage) : "memory");
                    if (++stage == B_STAGES) { stage = 0; parity ^= 1; }
                }
            }
        } else {
            const int thread = threadIdx.x - 32, plane = thread % (CA / 8), first = thread / (CA / 8);
            constexpr int STRIDE = FETCHERS / (CA / 8);
            int stage = 0; u32 parity = 1;
            for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
                const Tile tile = tile_of(index, T, rows, columns);
                for (int step = 0; step < A_STEPS; step++) {
                    const int frame = tile.t + step / (C / CA) - 2, channel = step % (C / CA) * CA + plane * 8;
                    const bf16* from = (frame < 0 ? before + (u64)(tile.batch * 2 + frame + 2) * H * W * C
                                                  : x + (u64)(tile.batch * T + frame) * H * W * C) + channel;
                    const u32 to = a_base + stage * A_BYTES + plane * PLANE;
                    wait(a_empty + 8 * stage, parity);
                    for (int pixel = first, px = first, py = 0; pixel < HY * HX; pixel += STRIDE) {
                        const int yy = tile.y + py - 1, xx = tile.x + px - 1;
                        const bool inside = yy >= 0 && yy < H && xx >= 0 && xx < W;
                        const bf16* source = inside ? from + (u64)(yy * W + xx) * C : from;
                        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to + pixel * 16),
                                     "l"(source), "r"(inside ? 16 : 0) : "memory");
                        px += STRIDE;
                        if (px >= HX) { px -= HX; py++; }
                    }
                    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(a_full + 8 * stage)
                                 : "memory");
                    if (++stage == A_STAGES) { stage = 0; parity ^= 1; }
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        const u64 pixels = matrix(PLANE, HX * 16), weights = matrix(N * 16, 128);
        const int half = (group - 1) * 2;  // a group multiplies two blocks of 8x8 pixels
        float sums[2][N / 2];
        int a_stage = 0, b_stage = 0; u32 a_parity = 0, b_parity = 0;
        for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
            const Tile tile = tile_of(index, T, rows, columns);
            u32 a_left = 0, b_left = 0;  // barriers of what the products under way still read
            int adds = 0;
            for (int step = 0; step < A_STEPS; step++) {
                wait(a_full + 8 * a_stage, a_parity);
                asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // fetched by ordinary copies
                for (int tap = 0; tap < TAPS; tap++) {
                    const u32 a = a_base + a_stage * A_BYTES + (tap / 3 * HX + tap % 3 + half * 8) * 16;
#pragma unroll
                    for (int part = 0; part < B_PER_TAP; part++) {
                        wait(b_full + 8 * b_stage, b_parity);
                        const u32 b = b_base + b_stage * B_BYTES;
                        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
                        for (int k = 0; k < KB / 16; k++) {
                            const u64 right = at(weights, b + k * 2 * N * 16);
                            const u32 left = a + (part * KB / 8 + k * 2) * PLANE;
                            multiply_add(sums[0], at(pixels, left), right, adds);
                            multiply_add(sums[1], at(pixels, left + 128), right, adds);
                            adds = 1;
                        }
                        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
                        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
                        if (lane == 0) {
                            if (b_left) arrive(b_left);
                            if (a_left) arrive(a_left);
                        }
                        b_left = b_empty + 8 * b_stage;
                        a_left = tap == TAPS - 1 && part == B_PER_TAP - 1 ? a_empty + 8 * a_stage : 0;
                        if (++b_stage == B_STAGES) { b_stage = 0; b_parity ^= 1; }
                    }
                }
                if (++a_stage == A_STAGES) { a_stage = 0; a_parity ^= 1; }
            }
            asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
            if (lane == 0) { arrive(b_left); arrive(a_left); }
#pragma unroll
            for (int block = 0; block < 2; block++) {
                const int xx = tile.x + (half + block) * 8 + lane / 4;
#pragma unroll
                for (int row = 0; row < 2; row++) {
                    const int yy = tile.y + warp * 2 + row;
                    if (yy >= H || xx >= W) continue;
                    const int column = tile.part * N + lane % 4 * 2;
                    bf16* to = out + ((u64)((tile.batch * T + tile.t) * H + yy) * W + xx) * O + column;
#pragma unroll
                    for (int n = 0; n < N / 8; n++) {
                        const float2 shift = *(const float2*)(bias + column + n * 8);
                        u32 pair;  // the second operand becomes the lower half
                        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair)
                            : "f"(sums[block][n * 4 + row * 2 + 1] + shift.y), "f"(sums[block][n * 4 + row * 2] + shift.x));
                        *(u32*)(to + n * 8) = pair;
                    }
                }
            }
        }
    }
}
