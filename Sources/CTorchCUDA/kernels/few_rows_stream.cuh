R"cuda(
// The weights of few_rows_layers on their way through shared memory.
//
// QUERY_KEY_VALUE_CUTS, OUTPUT_CUTS, GATE_UP_CUTS, DOWN_CUTS: warps that share a row of such a product's weight. CHUNK: pieces of
// such a part of a row, at most; SLOTS: of them that a warp has in shared memory.

constexpr int IN_FLIGHT = 2;  // that are loaded for a warp at once: more would be in the way of what blocks tell each other

// A product's sizes.
template <int PRODUCT>
struct Sizes {
  static constexpr int MADE = PRODUCT == QKV ? QUERY_KEY_VALUE : PRODUCT == GATE ? INNER : HIDDEN;
  static constexpr int INPUTS = PRODUCT == OUT ? ATTENDED : PRODUCT == DOWN ? INNER : HIDDEN;
  // A gate's row of the weight and what it is multiplied with come in turn; they lie so many rows apart.
  static constexpr int APART = PRODUCT == GATE ? INNER : 0, ROWS_OF_OUTPUT = APART ? 2 : 1;
  // Parts of a row, which as many warps have; pieces of a row, and of a part.
  static constexpr int CUTS = PRODUCT == QKV  ? QUERY_KEY_VALUE_CUTS
                              : PRODUCT == OUT  ? OUTPUT_CUTS
                              : PRODUCT == GATE ? GATE_UP_CUTS
                                                : DOWN_CUTS;
  static constexpr int PIECES = INPUTS / NUMBERS, MOST = (PIECES + CUTS - 1) / CUTS, LEAST = PIECES - (CUTS - 1) * MOST;
  static constexpr int STEP = WARPS / CUTS;  // from a row that a warp has a part of to the next
  static_assert(MOST <= CHUNK);
};

// What a warp does of a product.
template <int PRODUCT>
struct Share : Sizes<PRODUCT> {
  using S = Sizes<PRODUCT>;
  int first, outputs;         // that the block makes, an even number
  int own, cut, begin, count; // the first row that the warp has a part of, which part, its pieces

  __device__ __forceinline__ explicit Share(int warp) : own(warp / S::CUTS), cut(warp % S::CUTS) {
    first = 2 * (int)((long)S::MADE / 2 * blockIdx.x / BLOCKS);
    outputs = 2 * (int)((long)S::MADE / 2 * (blockIdx.x + 1) / BLOCKS) - first;
    begin = min(S::PIECES, cut * S::MOST);
    count = min(S::PIECES, begin + S::MOST) - begin;
  }
  // Of the weight.
  __device__ __forceinline__ int rows() const { return outputs * S::ROWS_OF_OUTPUT; }
  // Where the block's row `own` is.
  __device__ __forceinline__ int row(int own) const { return first + (S::APART ? own / 2 + own % 2 * S::APART : own); }
};

// A warp's slots: parts of rows, and which are loaded and which were multiplied.
struct Slots {
  Eight* pieces;
  uint64 *loaded, *free;
  int slot = 0, turn = 0;
  // The one so many further on; fewer than there are.
  __device__ Slots after(int count) const {
    Slots result = *this;
    result.slot += count;
    if (result.slot >= SLOTS) {
      result.slot -= SLOTS;
      result.turn ^= 1;
    }
    return result;
  }
  __device__ void next() { *this = after(1); }
};

// Loads what one warp multiplies, part after part.
struct Stream {
  const Layer* layers;
  int count, warp;
  Slots slots;
  uint64 policy;
  Slots arriving;       // the earliest that may still be on its way
  int flying = 0, layer = 0, product = QKV;
  int own, rows, step, apart, bytes;
  const Weight* weight;  // the part of the block's first row
  long inputs;

  template <int PRODUCT>
  __device__ void begin() {
    const Share<PRODUCT> share(warp);
    own = share.own;
    rows = share.count > 0 ? share.rows() : 0;
    step = Sizes<PRODUCT>::STEP;
    apart = Sizes<PRODUCT>::APART;
    bytes = share.count * 16;
    inputs = Sizes<PRODUCT>::INPUTS;
    weight = layers[layer].matrices[PRODUCT].weight + share.first * inputs + share.begin * NUMBERS;
  }
  // From the product on, which may be past the layer's last.
  __device__ void begin_product() {
    for (;; ++product) {
      if (product == PRODUCTS_OF_LAYER) {
        product = QKV;
        ++layer;
      }
      if (layer == count) return;
      switch (product) {
        case QKV: begin<QKV>(); break;
        case OUT: begin<OUT>(); break;
        case GATE: begin<GATE>(); break;
        case DOWN: begin<DOWN>(); break;
      }
      if (own < rows) return;
    }
  }
  // Loads one more, if there is room.
  __device__ void load() {
    if (flying == IN_FLIGHT) {
      if (!has_passed(arriving.loaded + arriving.slot, arriving.turn)) return;
      arriving.next();
      --flying;
    }
    if (!has_passed(slots.free + slots.slot, slots.turn ^ 1)) return;
    ++flying;
    const Weight* part = weight + (apart ? own / 2 + own % 2 * (long)apart : own) * inputs;
    const uint32 barrier = shared_address(slots.loaded + slots.slot);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
            shared_address(slots.pieces + slots.slot * CHUNK)),
        "l"(part), "r"(bytes), "r"(barrier), "l"(policy)
        : "memory");
    slots.next();
    own += step;
    if (own < rows) return;
    ++product;
    begin_product();
  }
};
)cuda"
