R"cuda(
// What kernels of attention over pages do alike.
// HEAD: dimension of a head.
constexpr int TILE = 16;                // tokens that a warp looks at at once
constexpr int PRODUCTS = HEAD / 16;     // of 16 dimensions each

// sums += a · b: [16, 16] times [16, 8]. Lane 4 r + c has of a rows r and r + 8, of b and sums column r or columns 2 c and
// 2 c + 1, and of what is summed over 2 c, 2 c + 1 and those 8 further on.
__device__ __forceinline__ void multiply(
    float (&sums)[4], uint32 a0, uint32 a1, uint32 a2, uint32 a3, uint32 b0, uint32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// A head's keys and values of a context, in the pages of its table.
struct Context {
  const bf16 *keys, *values;
  const int* table;
  int page_size;
  long token_stride, head_offset;
};

// A tile's keys and values, tokens from `end` on as the last one before it. Which dimension is which in a product does not
// matter as long as both sides agree: a lane takes eight neighbours of each 32, so that it loads 16 bytes at once.
__device__ __forceinline__ void load_tile(
    const Context& context, int base, int end, int r, int c, Eight (&key)[2][HEAD / 32], Eight (&value)[4][HEAD / 64]) {
  const int page_size = context.page_size;
  const bool pages_hold_tiles = page_size % TILE == 0;
  auto slot = [&](int token) {
    return ((long)context.table[token / page_size] * page_size + token % page_size) * context.token_stride + context.head_offset;
  };
  const long first = slot(base);
  auto place = [&](int token) {
    token = min(token, end - 1);
    return pages_hold_tiles ? first + (token - base) * context.token_stride : slot(token);
  };
#pragma unroll
  for (int b = 0; b < 2; ++b) {
    const bf16* at = context.keys + place(base + b * 8 + r) + c * 8;
#pragma unroll
    for (int i = 0; i < HEAD / 32; ++i) key[b][i] = *(const Eight*)(at + i * 32);
  }
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const bf16* at = context.values + place(base + 2 * c + t % 2 + t / 2 * 8) + r * 8;
#pragma unroll
    for (int i = 0; i < HEAD / 64; ++i) value[t][i] = *(const Eight*)(at + i * 64);
  }
}

// What the warps of a block have summed of their tokens, for heads of one key-value head, in shared memory.
template <int WARPS, int QUERIES>
struct __align__(16) HeadSums {
  float sums[WARPS][QUERIES][HEAD], most[WARPS][QUERIES], weight[WARPS][QUERIES];

  // Together, in dimensions d and those after it of head g: the largest score, the weight, the sums.
  template <int COUNT>
  __device__ __forceinline__ void join(int g, int d, float& all, float& total, float (&sum)[COUNT]) const {
    all = NOTHING;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) all = fmaxf(all, most[w][g]);
    const float floor = all == NOTHING ? 0 : all;
    total = 0;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum[i] = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float share = exp2f(most[w][g] - floor);
      total += weight[w][g] * share;
#pragma unroll
      for (int i = 0; i < COUNT; ++i) sum[i] += sums[w][g][d + i] * share;
    }
  }
};

// What a warp has summed of tiles that it looked at with one query of each of up to eight heads. Lane 4 r + c has the scores
// of head r, and sums of heads 2 c and 2 c + 1.
struct TileSums {
  float sums[PRODUCTS][4] = {}, most = NOTHING, weight = 0;

  __device__ __forceinline__ void add(
      const uint32 (&query)[PRODUCTS][2], const Eight (&key)[2][HEAD / 32], const Eight (&value)[4][HEAD / 64], int base,
      int end, float log_scale, int c) {
    // Of head r and tokens 2 c, 2 c + 1 of both halves of the tile.
    float scores[2][4] = {};
#pragma unroll
    for (int b = 0; b < 2; ++b)
#pragma unroll
      for (int i = 0; i < HEAD / 32; ++i) {
        const uint32* words = key[b][i].words;
        multiply(scores[b], query[2 * i][0], 0, query[2 * i][1], 0, words[0], words[1]);
        multiply(scores[b], query[2 * i + 1][0], 0, query[2 * i + 1][1], 0, words[2], words[3]);
      }
    float next = most;
#pragma unroll
    for (int b = 0; b < 2; ++b)
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        scores[b][t] = base + b * 8 + 2 * c + t < end ? scores[b][t] * log_scale : NOTHING;
        next = fmaxf(next, scores[b][t]);
      }
    next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, 1));
    next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, 2));
    const float floor = next == NOTHING ? 0 : next, kept = exp2f(most - floor);
    most = next;
    weight *= kept;
#pragma unroll
    for (int b = 0; b < 2; ++b)
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        scores[b][t] = exp2f(scores[b][t] - floor);
        weight += scores[b][t];
      }
    if (__any_sync(0xffffffffu, kept != 1)) {
      const float even = __shfl_sync(0xffffffffu, kept, 8 * c), odd = __shfl_sync(0xffffffffu, kept, 8 * c + 4);
#pragma unroll
      for (int m = 0; m < PRODUCTS; ++m) {
        sums[m][0] *= even;
        sums[m][1] *= odd;
        sums[m][2] *= even;
        sums[m][3] *= odd;
      }
    }
    // [dimensions, tokens] times [tokens, heads]. A lane has HEAD / 8 dimensions; half of them are its first rows.
    const uint32 low = pack(scores[0][0], scores[0][1]), high = pack(scores[1][0], scores[1][1]);
#pragma unroll
    for (int m = 0; m < PRODUCTS; ++m) {
      auto tokens = [&](int t, int own) {
        return __byte_perm(
            value[t][own / 8].words[own % 8 / 2], value[t + 1][own / 8].words[own % 8 / 2], own % 2 ? 0x7632 : 0x5410);
      };
      multiply(sums[m], tokens(0, m), tokens(0, m + PRODUCTS), tokens(2, m), tokens(2, m + PRODUCTS), low, high);
    }
  }

  // Those of the first `heads` heads to shared memory, where all can join them.
  template <int WARPS, int QUERIES>
  __device__ __forceinline__ void keep(HeadSums<WARPS, QUERIES>& target, int heads, int warp, int r, int c) {
    weight += __shfl_xor_sync(0xffffffffu, weight, 1);
    weight += __shfl_xor_sync(0xffffffffu, weight, 2);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (2 * c + h >= heads) continue;
      // Four dimensions at a time: one after another they would be in each other's way.
#pragma unroll
      for (int own = 0; own < 2 * PRODUCTS; own += 4) {
        auto sum = [&](int next) { return next < PRODUCTS ? sums[next][h] : sums[next - PRODUCTS][2 + h]; };
        *(float4*)(target.sums[warp][2 * c + h] + own / 8 * 64 + r * 8 + own % 8) =
            make_float4(sum(own), sum(own + 1), sum(own + 2), sum(own + 3));
      }
    }
    if (c == 0) {
      target.most[warp][r] = most;
      target.weight[warp][r] = weight;
    }
  }
};
)cuda"
