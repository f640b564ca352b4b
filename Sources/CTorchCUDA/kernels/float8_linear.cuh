R"cuda(
// output = x weightᵀ (+ bias) (+ residual) of numbers in e4m3 for ROWS rows, at most eight, as few as a batch that decodes has:
// bound by the weight's bytes, which are read once. Each block finds x (few_rows.cuh) and quantises it for itself, by rows or,
// GROUPED, by groups.
//
// A block makes some outputs, in tiles of eight. Tiles times chunks of 128 inputs, a group each, are its pieces of work, which
// its warps divide evenly, whichever tile a piece is of; what several warps make of a tile is added up at the end, in their
// order. Products are tensor cores': halves hold e4m3 exactly, and sums are fp32.
constexpr int WARPS = 16, THREADS = WARPS * 32;
constexpr int AHEAD = 4;  // pieces that each warp has in flight: two loads of 16 bytes for each lane
constexpr int TILE = 8, CHUNK = 128;

// Adds products of 16 inputs, of which each lane has four: those of its row of the input, and those of its output.
__device__ __forceinline__ void add_products(float (&sums)[4], uint32 input, uint32 weight) {
  const Halves x = halves(input), w = halves(weight);
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %5}, {%7, %8}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(x.low), "r"(0), "r"(x.high), "r"(w.low), "r"(w.high));
}

// 16 bytes that are read once. In order: what is fetched ahead is asked for where it is written.
__device__ __forceinline__ uint4 streamed(const unsigned char* from) {
  uint4 words;
  asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w) : "l"(from));
  return words;
}

// Eight numbers of a row, zeros from the row's end on.
__device__ __forceinline__ void load(const bf16* row, int index, int count, float* numbers) {
  const uint4 words = index < count ? ((const uint4*)row)[index] : make_uint4(0, 0, 0, 0);
  unpack(Eight{{words.x, words.y, words.z, words.w}}, numbers);
}

// x as e4m3, filled up with zeros to whole chunks, and its scales.
__device__ __forceinline__ void quantise(
    const bf16* input, int inputs, int chunks, unsigned char* rows, int row_bytes, float* row_scales) {
  const int eights = inputs / 8, all = chunks * (CHUNK / 8);
#ifdef GROUPED
  // The numbers of a group lie with sixteen neighbouring lanes.
#pragma unroll 1
  for (int row = 0; row < ROWS; ++row)
#pragma unroll 4
    for (int start = threadIdx.x & ~31; start < all; start += THREADS) {
      const int i = start + threadIdx.x % 32;
      float numbers[8];
      load(input + row * inputs, i, eights, numbers);
      float found = largest_of(numbers, 0);
#pragma unroll
      for (int offset = 8; offset > 0; offset /= 2) found = larger(found, __shfl_xor_sync(0xffffffffu, found, offset));
      const float factor = factor_for(found);
      if (i < all) *(uint2*)(rows + row * row_bytes + i * 8) = eight(numbers, factor);
      if (i < all && i % 16 == 0) row_scales[row * chunks + i / 16] = __frcp_rn(factor);
    }
#else
  __shared__ float parts[ROWS][WARPS];
#pragma unroll 1
  for (int row = 0; row < ROWS; ++row) {
    float found = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < eights; i += THREADS) {
      float numbers[8];
      load(input + row * inputs, i, eights, numbers);
      found = largest_of(numbers, found);
    }
    found = largest_of_warp(found);
    if (threadIdx.x % 32 == 0) parts[row][threadIdx.x / 32] = found;
  }
  __syncthreads();
#pragma unroll 1
  for (int row = 0; row < ROWS; ++row) {
    const float factor = factor_for(largest_of_warp(parts[row][threadIdx.x % WARPS]));
#pragma unroll 2
    for (int i = threadIdx.x; i < all; i += THREADS) {
      float numbers[8];
      load(input + row * inputs, i, eights, numbers);
      *(uint2*)(rows + row * row_bytes + i * 8) = eight(numbers, factor);
    }
    if (threadIdx.x == 0) row_scales[row] = __frcp_rn(factor);
  }
#endif
}

// `row_bytes`: what a row takes in shared memory, at least its whole chunks; a multiple of 16. Scales of the weight's next
// output lie `output_step` further on, those of an output's next group `group_step`.
extern "C" __global__ void __launch_bounds__(THREADS) few_rows_float8_linear(
    const bf16* __restrict__ input, const bf16* __restrict__ norm, float epsilon, const unsigned char* __restrict__ weight,
    const float* __restrict__ weight_scales, long output_step, long group_step, const bf16* __restrict__ bias,
    const bf16* __restrict__ residual, bf16* __restrict__ output, int inputs, int outputs, int row_bytes) {
  let_next_begin();
  extern __shared__ __align__(16) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // Of a tile, a lane has parts of an output; of the input, the same parts of a row.
  const int line = lane / 4, part = lane % 4;
  const int first = outputs * blockIdx.x / gridDim.x, count = outputs * (blockIdx.x + 1) / gridDim.x - first;
  const int chunks = (inputs + CHUNK - 1) / CHUNK, tiles = (count + TILE - 1) / TILE, pieces = tiles * chunks;
  const int workers = min(WARPS, pieces);
  const int begin = min(warp, workers) * pieces / workers, end = min(warp + 1, workers) * pieces / workers;
#ifdef GROUPED
  const int groups = chunks;
#else
  const int groups = 1;
#endif
  unsigned char* rows = shared;
  float* scales = (float*)(rows + ROWS * row_bytes);  // [groups, tiles * TILE]
  float* sums = scales + groups * tiles * TILE;       // [tile + warp, ROWS, TILE]
  float* row_scales = sums + (tiles + WARPS - 1) * ROWS * TILE;

  // Weights depend on nothing earlier.
  struct { uint4 first, second; } next[AHEAD];
  const int left = inputs - part * 16;  // of a row, from this lane's first part on
  int column = begin % chunks * CHUNK, own = begin / chunks * TILE + line;
  const unsigned char* from = weight + (long)(first + own) * inputs + column + part * 16;
  auto fetch = [&](int slot, int piece) {
    const bool is_wanted = piece < end && own < count;
    next[slot].first = next[slot].second = make_uint4(0, 0, 0, 0);
    if (is_wanted && column < left) next[slot].first = streamed(from);
    if (is_wanted && column + 64 < left) next[slot].second = streamed(from + 64);
    column += CHUNK;
    from += CHUNK;
    if (column < inputs) return;
    from += (long)TILE * inputs - column;
    own += TILE;
    column = 0;
  };
#pragma unroll
  for (int u = 0; u < AHEAD; ++u) fetch(u, begin + u);
  for (int i = threadIdx.x; i < groups * count; i += THREADS) {
    const int group = i / count, own = i % count;
    const uint32 to = shared_address(scales + group * tiles * TILE + own);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;"
                 :: "r"(to), "l"(weight_scales + (first + own) * output_step + group * group_step) : "memory");
  }
  wait_for_earlier();
#if defined(NORMED) || defined(GATED)
  Eight* x = (Eight*)(((unsigned long)(row_scales + ROWS * groups) + 15) / 16 * 16);
  find_x<WARPS>(x, input, norm, epsilon, inputs / 8);
  __syncthreads();
  quantise((const bf16*)x, inputs, chunks, rows, row_bytes, row_scales);
#else
  quantise(input, inputs, chunks, rows, row_bytes, row_scales);
#endif
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();

  // Of the row `line`, and of the outputs 2 * part and the one after it.
  float2 sum = {0, 0};
  int chunk = begin % chunks, tile = begin / chunks;
  const unsigned char* line_numbers = rows + line * row_bytes + part * 16;
  for (int base = begin; base < end; base += AHEAD) {
#pragma unroll
    for (int u = 0; u < AHEAD; ++u) {
      const int piece = base + u;
      const uint4 a = next[u].first, b = next[u].second;
      fetch(u, piece + AHEAD);
      if (piece >= end) continue;
      uint4 x = {0, 0, 0, 0}, y = {0, 0, 0, 0};
      float2 scale = {1, 1};
      if (line < ROWS) {
        x = *(const uint4*)(line_numbers + chunk * CHUNK);
        y = *(const uint4*)(line_numbers + chunk * CHUNK + 64);
#ifdef GROUPED
        const float row_scale = row_scales[line * chunks + chunk];
        scale = *(const float2*)(scales + (chunk * tiles + tile) * TILE + 2 * part);
        scale.x *= row_scale;
        scale.y *= row_scale;
#endif
      }
      float even[4] = {}, odd[4] = {};
      add_products(even, x.x, a.x);
      add_products(odd, x.y, a.y);
      add_products(even, x.z, a.z);
      add_products(odd, x.w, a.w);
      add_products(even, y.x, b.x);
      add_products(odd, y.y, b.y);
      add_products(even, y.z, b.z);
      add_products(odd, y.w, b.w);
      sum.x += (even[0] + odd[0]) * scale.x;
      sum.y += (even[1] + odd[1]) * scale.y;
      if (++chunk < chunks && piece + 1 < end) continue;
      if (line < ROWS) *(float2*)(sums + ((tile + warp) * ROWS + line) * TILE + 2 * part) = sum;
      sum = {0, 0};
      chunk = 0;
      ++tile;
    }
  }
  __syncthreads();

  for (int i = threadIdx.x; i < tiles * ROWS * TILE; i += THREADS) {
    const int tile = i / (ROWS * TILE), row = i / TILE % ROWS, own = tile * TILE + i % TILE;
    if (own >= count) continue;
    // The warps whose pieces hold the tile's first and last.
    const int from = ((tile * chunks + 1) * workers - 1) / pieces, to = ((tile + 1) * chunks * workers - 1) / pieces;
    float total = 0;
    for (int other = from; other <= to; ++other) total += sums[((tile + other) * ROWS + row) * TILE + i % TILE];
#ifdef GROUPED
    total = rounded(total);  // libtorch's product takes no bias
#else
    total *= row_scales[row] * scales[own];
#endif
    total += bias ? wide(bias[first + own]) : 0;
    const long place = (long)row * outputs + first + own;
    output[place] = narrow(residual ? rounded(total) + wide(residual[place]) : total);
  }
}
)cuda"
