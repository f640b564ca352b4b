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
)cuda"
