R"cuda(
// Products of few_rows_layers: what a block makes of the weights that came (few_rows_stream.cuh).

// Four numbers' sums over the warp: lanes 8 i to 8 i + 7 have that of number i.
__device__ __forceinline__ float sums_of_warp(const float (&numbers)[4]) {
  const bool high = threadIdx.x & 16, odd = threadIdx.x & 8;
  float first = high ? numbers[2] : numbers[0], second = high ? numbers[3] : numbers[1];
  first += __shfl_xor_sync(0xffffffffu, high ? numbers[0] : numbers[2], 16);
  second += __shfl_xor_sync(0xffffffffu, high ? numbers[1] : numbers[3], 16);
  float sum = odd ? second : first;
  sum += __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
#pragma unroll
  for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  return sum;
}

// What a lane's piece of a weight is multiplied with, of one row.
struct Factors {
  Eight eights[NUMBERS / 8];
};

// Sums of products of two rows of a weight with one of x. All that a lane has lies at the same place of the rows, which is another
// place for each four lanes, so of a product by tensor cores it is the diagonals that are wanted: of the weight's side lanes 4 i
// to 4 i + 3 have row i, which is the first, and row i + 8, which is the second, and of the other side column i.
struct Diagonals {
  static constexpr int WORDS = 16 / NUMBERS;  // of a piece, that are multiplied at once
  float sums[4] = {};

  __device__ __forceinline__ void add(const Eight& first, const Eight& second, const Factors& x) {
#pragma unroll
    for (int w = 0; w < 4; w += WORDS) {
#ifdef FLOAT8
      const Halves a = halves(first.words[w]), b = halves(second.words[w]);
      const uint32* factors = x.eights[w / 2].words + w % 2 * 2;
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(a.low), "r"(b.low), "r"(a.high), "r"(b.high), "r"(factors[0]), "r"(factors[1]));
#else
      const uint32* factors = x.eights[0].words + w;
      multiply(sums, first.words[w], second.words[w], first.words[w + 1], second.words[w + 1], factors[0], factors[1]);
#endif
    }
  }
  // A lane's part of the first row's sum, and of the second's.
  __device__ __forceinline__ float own(int row) const {
    const int lane = threadIdx.x % 32, column = lane / 4;
    return lane % 4 != column / 2 ? 0 : column % 2 ? sums[2 * row + 1] : sums[2 * row];
  }
};

// The sums of the block's rows, parts of warps that share a row by themselves: sums[row][cut][ROWS].
template <int PRODUCT>
__device__ __forceinline__ void multiply_rows(Slots& slots, const Share<PRODUCT>& share, const Eight* x, float* sums) {
  using S = Sizes<PRODUCT>;
  // Rows of x that are multiplied beside each other; there are registers for one alone.
  constexpr int OWN = (S::MOST + 31) / 32, BESIDE = ROWS < 2 ? 1 : 2, KEPT = ROWS == 1;
  const int lane = threadIdx.x % 32, count = share.count, rows = share.rows();
  auto factors = [&](int r, int u) {
    return r < ROWS && lane + 32 * u < count ? ((const Factors*)x)[r * S::PIECES + share.begin + lane + 32 * u] : Factors{};
  };
  Factors kept[BESIDE][OWN];
#pragma unroll
  for (int r = 0; r < KEPT; ++r)
#pragma unroll
    for (int u = 0; u < OWN; ++u) kept[r][u] = factors(r, u);
  for (int own = share.own; own < rows; own += S::STEP * TOGETHER) {
    const int together = count == 0 ? 0 : min(TOGETHER, (rows - own + S::STEP - 1) / S::STEP);
    // Each of the first lanes looks after a row.
    const Slots looked_after = slots.after(min(lane, TOGETHER - 1));
    while (!__all_sync(
        0xffffffffu, lane >= together || has_passed(looked_after.loaded + looked_after.slot, looked_after.turn))) {}
    const Eight* chunks[TOGETHER];
#pragma unroll
    for (int t = 0; t < TOGETHER; ++t) chunks[t] = slots.pieces + slots.after(t < together ? t : 0).slot * CHUNK;
#pragma unroll
    for (int first = 0; first < ROWS; first += BESIDE) {
      // One sum after another would wait for the last.
      Diagonals products[TOGETHER / 2][BESIDE][2];
#pragma unroll
      for (int u = 0; u < OWN; ++u) {
        Factors x_pieces[BESIDE];
#pragma unroll
        for (int r = 0; r < BESIDE; ++r) x_pieces[r] = KEPT ? kept[r][u] : factors(first + r, u);
        auto piece = [&](int t) {
          return 32 * (u + 1) <= S::LEAST || lane + 32 * u < count ? chunks[t][lane + 32 * u] : Eight{};
        };
#pragma unroll
        for (int t = 0; t < TOGETHER; t += 2) {
          const Eight one = piece(t), other = piece(t + 1);
#pragma unroll
          for (int r = 0; r < BESIDE; ++r) products[t / 2][r][u % 2].add(one, other, x_pieces[r]);
        }
      }
#pragma unroll
      for (int r = 0; r < BESIDE; ++r) {
        if (first + r >= ROWS) continue;
        float sum[TOGETHER];
#pragma unroll
        for (int t = 0; t < TOGETHER; ++t) sum[t] = products[t / 2][r][0].own(t % 2) + products[t / 2][r][1].own(t % 2);
        const float total = sums_of_warp(sum);
        const int row = own + lane / 8 * S::STEP;
        if (lane % 8 == 0 && row < rows) sums[(row * S::CUTS + share.cut) * ROWS + first + r] = total;
      }
    }
    __syncwarp();
    if (lane < together)
      asm volatile(
          "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(looked_after.free + looked_after.slot)) : "memory");
    slots = slots.after(together);
  }
}

constexpr int MOST_OUTPUTS = larger(larger(most_own(QUERY_KEY_VALUE), most_own(HIDDEN)), 2 * most_own(INNER));

// What products of numbers of e4m3 are multiplied by: the scales of a block's own outputs, fetched while it waits, and of the
// rows.
struct Scaling {
#ifdef FLOAT8
  float rows[ROWS], outputs[MOST_OUTPUTS];
  template <int PRODUCT>
  __device__ __forceinline__ void fetch(const float* scales, const Share<PRODUCT>& share) {
    for (int own = threadIdx.x; own < share.rows(); own += THREADS)
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(outputs + own)), "l"(scales + share.row(own))
                   : "memory");
  }
  __device__ __forceinline__ void wait() const { asm volatile("cp.async.wait_all;" ::: "memory"); }
  __device__ __forceinline__ float of(int r, int own) const { return rows[r] * outputs[own]; }
#else
  template <int PRODUCT>
  __device__ __forceinline__ void fetch(const float*, const Share<PRODUCT>&) {}
  __device__ __forceinline__ void wait() const {}
  __device__ __forceinline__ float of(int, int) const { return 1; }
#endif
};

// Makes of ROWS rows of x what is multiplied: nothing else of bf16, numbers of e4m3, kept as halves, with a scale for each row.
// The block waits for x, and for them.
template <int INPUTS>
__device__ __forceinline__ void make_factors(Eight* x, Scaling& scaling) {
  sync_block();
#ifdef FLOAT8
  constexpr int EIGHTS = INPUTS / 8, MINE = (EIGHTS + THREADS - 1) / THREADS;
  __shared__ float largest[ROWS][WARPS];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float found = 0;
#pragma unroll
    for (int u = 0; u < MINE; ++u) {
      const int i = threadIdx.x + u * THREADS;
      if (i >= EIGHTS) continue;
      float values[8];
      unpack(x[r * EIGHTS + i], values);
      found = largest_of(values, found);
    }
    found = largest_of_warp(found);
    if (threadIdx.x % 32 == 0) largest[r][threadIdx.x / 32] = found;
  }
  sync_block();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float found = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) found = larger(found, largest[r][w]);
    const float factor = factor_for(found);
#pragma unroll
    for (int u = 0; u < MINE; ++u) {
      const int i = threadIdx.x + u * THREADS;
      if (i >= EIGHTS) continue;
      float values[8];
      Eight& own = x[r * EIGHTS + i];
      unpack(own, values);
      const uint2 numbers = eight(values, factor);
      const Halves low = halves(numbers.x), high = halves(numbers.y);
      own = {{low.low, low.high, high.low, high.high}};
    }
    if (threadIdx.x == 0) scaling.rows[r] = __frcp_rn(factor);
  }
  sync_block();
#endif
}

// A pair of the block's outputs, of one row.
template <int PRODUCT>
struct Made {
  const float* sums;
  const Scaling& scaling;
  const Share<PRODUCT>& share;
  const bf16* bias;
  int row, first;  // of ROWS, and of the block's outputs

  __device__ __forceinline__ Made(
      const float* sums, const Scaling& scaling, const Share<PRODUCT>& share, const bf16* bias, int index)
      : sums(sums), scaling(scaling), share(share), bias(bias), row(ROWS == 1 ? 0 : index / (share.outputs / 2)) {
    first = 2 * (index - row * (share.outputs / 2));
  }
  // Of all that the product makes.
  __device__ __forceinline__ int column() const { return share.first + first; }
  // Of one of the block's rows of the weight, with the bias.
  __device__ __forceinline__ float sum(int own) const {
    float sum = 0;
#pragma unroll
    for (int cut = 0; cut < Sizes<PRODUCT>::CUTS; ++cut) sum += sums[(own * Sizes<PRODUCT>::CUTS + cut) * ROWS + row];
    return sum * scaling.of(row, own) + (bias ? wide(bias[share.row(own)]) : 0);
  }
};
)cuda"
