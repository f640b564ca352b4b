R"cuda(
// The weights of few_rows_layers on their way through shared memory, and their products.
//
// QUERY_KEY_VALUE_CUTS, OUTPUT_CUTS, GATE_UP_CUTS, DOWN_CUTS: warps that share a row of such a product's weight. CHUNK: eights of
// such a part of a row, at most; SLOTS: of them that a warp has in shared memory; IN_FLIGHT: that are loaded for it at once.

enum Product { QKV, OUT, GATE, DOWN, PRODUCTS_OF_LAYER };

// How the warps of a block divide the rows of a product: CUTS share a row.
template <int INPUTS, int CUTS>
struct Shares {
  static constexpr int EIGHTS = INPUTS / 8, MOST = (EIGHTS + CUTS - 1) / CUTS, STEP = WARPS / CUTS;
  static_assert(MOST <= CHUNK);
  static __device__ int row(int warp) { return warp / CUTS; }
  static __device__ int begin(int warp) { return min(EIGHTS, warp % CUTS * MOST); }
  static __device__ int count(int warp) { return min(EIGHTS, warp % CUTS * MOST + MOST) - begin(warp); }
};
using QkvShares = Shares<HIDDEN, QUERY_KEY_VALUE_CUTS>;
using OutShares = Shares<ATTENDED, OUTPUT_CUTS>;
using GateShares = Shares<HIDDEN, GATE_UP_CUTS>;
using DownShares = Shares<INNER, DOWN_CUTS>;

// A warp's slots: parts of rows, and which are loaded and which were multiplied.
struct Slots {
  Eight* eights;
  uint64 *loaded, *free;
  int slot = 0, turn = 0;
  __device__ void next() {
    if (++slot == SLOTS) {
      slot = 0;
      turn ^= 1;
    }
  }
};

// Loads what one warp multiplies, part after part.
struct Stream {
  const Layer* layers;
  int count, warp;
  Slots slots;
  uint64 policy;
  int layer = 0, product = QKV, own, rows, step, apart, eights;
  const bf16* weight;  // of the block's first row
  long inputs;
  Slots arriving;      // the earliest that may still be on its way
  int flying = 0;

  template <class S>
  __device__ void begin(const bf16* matrix, const OwnPart& block, int between) {
    own = S::row(warp);
    step = S::STEP;
    apart = between;
    rows = block.count * (between ? 2 : 1);
    inputs = S::EIGHTS * 8;
    weight = matrix + block.first * inputs + S::begin(warp) * 8;
    eights = S::count(warp);
  }
  __device__ void begin_product() {
    for (; layer < count; product == PRODUCTS_OF_LAYER ? product = QKV, ++layer : 0) {
      const Layer& from = layers[layer];
      switch (product) {
        case QKV: begin<QkvShares>(from.query_key_value, OwnPart(QUERY_KEY_VALUE), 0); break;
        case OUT: begin<OutShares>(from.output, OwnPart(HIDDEN), 0); break;
        case GATE: begin<GateShares>(from.gate_up, OwnPart(INNER), INNER); break;
        case DOWN: begin<DownShares>(from.down, OwnPart(HIDDEN), 0); break;
      }
      ++product;
      if (own < rows && eights > 0) return;
    }
  }
  // Loads one more, if there is room.
  __device__ void load() {
    // Many would be in the way of what blocks tell each other.
    if (flying == IN_FLIGHT) {
      if (!has_passed(arriving.loaded + arriving.slot, arriving.turn)) return;
      arriving.next();
      --flying;
    }
    if (!has_passed(slots.free + slots.slot, slots.turn ^ 1)) return;
    ++flying;
    // Rows of gates and of what they are multiplied with come in turn.
    const bf16* row = weight + (apart ? own / 2 + own % 2 * (long)apart : own) * inputs;
    const uint32 barrier = shared_address(slots.loaded + slots.slot);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(eights * 16) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
            shared_address(slots.eights + slots.slot * CHUNK)),
        "l"(row), "r"(eights * 16), "r"(barrier), "l"(policy)
        : "memory");
    slots.next();
    own += step;
    if (own < rows) return;
    if (product == PRODUCTS_OF_LAYER) {
      product = QKV;
      ++layer;
    }
    begin_product();
  }
};

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

// The sums of the block's `rows` rows, parts of warps that share a row by themselves: sums[row][cut][ROWS].
template <class S, int CUTS>
__device__ __forceinline__ void multiply_rows(Slots& slots, int rows, const Eight* x, float* sums) {
  constexpr int OWN = (S::MOST + 31) / 32;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, count = S::count(warp);
  auto taken = [&](int r, int u) {
    return lane + 32 * u < count ? x[r * S::EIGHTS + S::begin(warp) + lane + 32 * u] : Eight{};
  };
  // There are registers for one row.
  Eight only[OWN];
#pragma unroll
  for (int u = 0; u < OWN; ++u) only[u] = taken(0, u);
  for (int own = S::row(warp); own < rows; own += S::STEP * TOGETHER) {
    Eight weights[TOGETHER][OWN] = {};
    Slots last = slots;
#pragma unroll
    for (int t = 0; t < TOGETHER; ++t) {
      if (own + t * S::STEP >= rows || count == 0) continue;
      while (!has_passed(slots.loaded + slots.slot, slots.turn)) {}
      const Eight* chunk = slots.eights + slots.slot * CHUNK;
#pragma unroll
      for (int u = 0; u < OWN; ++u)
        if (lane + 32 * u < count) weights[t][u] = chunk[lane + 32 * u];
      slots.next();
    }
    __syncwarp();
    if (lane == 0)
#pragma unroll
      for (int t = 0; t < TOGETHER; ++t) {
        if (own + t * S::STEP >= rows || count == 0) continue;
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(last.free + last.slot)) : "memory");
        last.next();
      }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      float sum[TOGETHER] = {};
#pragma unroll
      for (int u = 0; u < OWN; ++u) {
        float values[8];
        unpack(ROWS == 1 ? only[u] : taken(r, u), values);
#pragma unroll
        for (int t = 0; t < TOGETHER; ++t) {
          float w[8];
          unpack(weights[t][u], w);
#pragma unroll
          for (int k = 0; k < 8; ++k) sum[t] += w[k] * values[k];
        }
      }
      const float total = sums_of_warp(sum);
      const int row = own + lane / 8 * S::STEP;
      if (lane % 8 == 0 && row < rows) sums[(row * CUTS + warp % CUTS) * ROWS + r] = total;
    }
  }
}

// One of them, with the bias.
template <int CUTS>
__device__ __forceinline__ float sum_of(const float* sums, int own, int r, const bf16* bias, int row) {
  float sum = 0;
#pragma unroll
  for (int cut = 0; cut < CUTS; ++cut) sum += sums[(own * CUTS + cut) * ROWS + r];
  return sum + (bias ? wide(bias[row]) : 0);
}
)cuda"
