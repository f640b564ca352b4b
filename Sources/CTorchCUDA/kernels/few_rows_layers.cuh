R"cuda(
// All layers of a dense model for ROWS rows, as few as a batch that decodes has, by one kernel whose blocks stay from the first
// layer to the last. Such a step is bound by the weights' bytes, so a warp of each block loads its part of them in one stream
// through shared memory, over the ends of products and layers: while a product waits for what it multiplies, what comes next
// is loaded.
//
// Blocks tell each other numbers in words of 64 bits, the number and a flag that says of which layer of which step it is, so
// that who waits for a number reads just it. Before a word is written again, all have read it: every block makes a part of
// each product, for which it needs all of the one before.
// Each number is rounded where libtorch's operators do.
//
// ROWS, HIDDEN, INNER, HEADS, KEY_VALUE_HEADS, HEAD: the model's sizes. BLOCKS: of the grid. SPLITS: parts of a context at most.
// QUERY_KEY_VALUE_CUTS, OUTPUT_CUTS, GATE_UP_CUTS, DOWN_CUTS: warps that share a row of such a product's weight.
// CHUNK: eights of such a part of a row, at most; SLOTS: of them that a warp has in shared memory; IN_FLIGHT: that are loaded for
// it at once. ROOM: bytes for what is multiplied, or attention.
constexpr int WARPS = 8, THREADS = WARPS * 32;  // that multiply; four warps more load
constexpr int QUERIES = 8;
constexpr int LEAST_TOKENS = WARPS * TILE;      // of a context's part, if there are several
constexpr int TOGETHER = 4;                     // rows of a weight that a warp multiplies at once
constexpr int QUERY_KEY_VALUE = (HEADS + 2 * KEY_VALUE_HEADS) * HEAD, ATTENDED = HEADS * HEAD;
constexpr int GROUP = HEADS / KEY_VALUE_HEADS;
static_assert(GROUP <= QUERIES);

// What the kernel knows of a layer; biases and the norms of heads may be missing.
struct Layer {
  const bf16 *input_norm, *query_key_value, *query_key_value_bias, *query_norm, *key_norm, *output, *output_bias, *middle_norm,
      *gate_up, *gate_up_bias, *down, *down_bias;
  bf16 *keys, *values;
};

// Words of what blocks tell each other, in the workspace behind the count of layers that were run.
constexpr int PART = HEAD + 2;  // sums of a part of a context, the largest score, the weight
struct Words {
  uint64 query_key_value[ROWS][QUERY_KEY_VALUE / 2], heads[ROWS][ATTENDED / 2], middle[ROWS][HIDDEN / 2],
      inner[ROWS][INNER / 2], hidden[ROWS][HIDDEN / 2], parts[ROWS][HEADS][SPLITS][PART];
};

// The warps that multiply wait for each other.
__device__ __forceinline__ void sync_block() { asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory"); }

__device__ __forceinline__ uint32 shared_address(const void* pointer) { return (uint32)__cvta_generic_to_shared(pointer); }
__device__ __forceinline__ bool has_passed(const uint64* barrier, uint32 parity) {
  uint32 result;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
      : "=r"(result)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return result;
}

__device__ __forceinline__ void tell(uint64* word, uint32 value, uint32 flag) {
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(word), "l"((uint64)flag << 32 | value) : "memory");
}
__device__ __forceinline__ uint64 look(const uint64* word) {
  uint64 result;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(result) : "l"(word) : "memory");
  return result;
}
__device__ __forceinline__ void look_at_two(const uint64* words, uint64 (&result)[2]) {
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(result[0]), "=l"(result[1]) : "l"(words) : "memory");
}

// Waits for COUNT words with pairs of numbers and puts the numbers to `target`, a part for each thread.
template <int COUNT>
__device__ __forceinline__ void hear(const uint64* words, uint32 flag, void* target) {
  constexpr int TWOS = COUNT / 2, EACH = (TWOS + THREADS - 1) / THREADS, AT_ONCE = EACH < 8 ? EACH : 8;
  for (int start = threadIdx.x; start < TWOS; start += THREADS * AT_ONCE) {
    uint64 heard[AT_ONCE][2];
    bool all;
    do {
      all = true;
#pragma unroll
      for (int u = 0; u < AT_ONCE; ++u)
        if (start + u * THREADS < TWOS) look_at_two(words + 2 * (start + u * THREADS), heard[u]);
#pragma unroll
      for (int u = 0; u < AT_ONCE; ++u)
        if (start + u * THREADS < TWOS) all &= heard[u][0] >> 32 == flag && heard[u][1] >> 32 == flag;
    } while (!all);
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u)
      if (start + u * THREADS < TWOS)
        ((uint2*)target)[start + u * THREADS] = {(uint32)heard[u][0], (uint32)heard[u][1]};
  }
}

// The part of `count` numbers, an even one, that a block makes.
struct OwnPart {
  int first, count;
  __device__ explicit OwnPart(int numbers) {
    const int begin = (int)((long)numbers / 2 * blockIdx.x / BLOCKS), end = (int)((long)numbers / 2 * (blockIdx.x + 1) / BLOCKS);
    first = 2 * begin;
    count = 2 * (end - begin);
  }
};
__device__ constexpr int larger(int a, int b) { return a > b ? a : b; }
__device__ constexpr int most_own(int numbers) { return 2 * (numbers / 2 / BLOCKS + 1); }

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

// Adds the block's sums to its part of the hidden states, and tells the others, or writes them to `output`.
template <int CUTS>
__device__ __forceinline__ void tell_hidden(
    const float* sums, const bf16* bias, float (&residual)[ROWS][most_own(HIDDEN)], const OwnPart& own_hidden,
    uint64 (&words)[ROWS][HIDDEN / 2], uint32 flag, bf16* output) {
  for (int i = threadIdx.x; i < ROWS * own_hidden.count / 2; i += THREADS) {
    const int r = i / (own_hidden.count / 2), own = i % (own_hidden.count / 2) * 2, column = own_hidden.first + own;
    float* values = residual[r] + own;
#pragma unroll
    for (int next = 0; next < 2; ++next)
      values[next] = rounded(rounded(sum_of<CUTS>(sums, own + next, r, bias, column + next)) + values[next]);
    if (output) *(uint32*)(output + (long)r * HIDDEN + column) = pack(values[0], values[1]);
    else tell(words[r] + column / 2, pack(values[0], values[1]), flag);
  }
}

// The root-mean-square norm's weights: a thread's own.
struct NormWeights {
  static constexpr int EIGHTS = HIDDEN / 8, MINE = (EIGHTS + THREADS - 1) / THREADS;
  Eight own[MINE];
  __device__ explicit NormWeights(const bf16* weight) {
#pragma unroll
    for (int u = 0; u < MINE; ++u)
      if (threadIdx.x + u * THREADS < EIGHTS) own[u] = ((const Eight*)weight)[threadIdx.x + u * THREADS];
  }
};

// The root-mean-square norms of ROWS rows, in place; the block waits for the rows, and for the norms.
__device__ __forceinline__ void norm_rows(Eight* x, const NormWeights& scale, float epsilon) {
  constexpr int EIGHTS = NormWeights::EIGHTS, MINE = NormWeights::MINE;
  __shared__ float squares[ROWS][WARPS];
  sync_block();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float sum = 0;
#pragma unroll
    for (int u = 0; u < MINE; ++u) {
      if (threadIdx.x + u * THREADS >= EIGHTS) continue;
      float values[8];
      unpack(x[r * EIGHTS + threadIdx.x + u * THREADS], values);
#pragma unroll
      for (int k = 0; k < 8; ++k) sum += values[k] * values[k];
    }
    sum = sum_of_warp(sum);
    if (threadIdx.x % 32 == 0) squares[r][threadIdx.x / 32] = sum;
  }
  sync_block();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) sum += squares[r][w];
    const float inverse = rsqrtf(sum / HIDDEN + epsilon);
#pragma unroll
    for (int u = 0; u < MINE; ++u) {
      if (threadIdx.x + u * THREADS >= EIGHTS) continue;
      float values[8], weights[8];
      Eight& own = x[r * EIGHTS + threadIdx.x + u * THREADS];
      unpack(own, values);
      unpack(scale.own[u], weights);
#pragma unroll
      for (int k = 0; k < 8; ++k) values[k] = weights[k] * (values[k] * inverse);
      own = pack(values);
    }
  }
  sync_block();
}

// Parts that a context is cut into, of so many tokens each.
struct Cut {
  int parts, tokens;
  __device__ explicit Cut(int length) {
    const int wanted = min(SPLITS, max(1, (length + LEAST_TOKENS - 1) / LEAST_TOKENS));
    tokens = max(1, ((length + wanted - 1) / wanted + TILE - 1) / TILE) * TILE;
    parts = max(1, (length + tokens - 1) / tokens);
  }
};

// What the attention of one row, key-value head and part of the context works in.
struct AttentionRoom {
  HeadSums<WARPS, QUERIES> sums;
  Eight queries[QUERIES][HEAD / 8], key[HEAD / 8], value[HEAD / 8];
};

// Of the block's task: a row, a key-value head and a part of the row's context.
struct Task {
  int row, head, part, length, begin, end;
  Cut cut;
  __device__ Task(int task, const int* lengths)
      : row(task / (KEY_VALUE_HEADS * SPLITS)), head(task / SPLITS % KEY_VALUE_HEADS), part(task % SPLITS), length(lengths[row]),
        cut(length) {
    begin = part * cut.tokens;
    end = min(length, begin + cut.tokens);
  }
  // Whether the row's last token is in the part.
  __device__ bool has_last() const { return begin < end && end == length; }
  __device__ bool is_empty() const { return part >= cut.parts; }
};
constexpr int TASKS = ROWS * KEY_VALUE_HEADS * SPLITS;

union OwnPairs {
  uint32 words[OWN / 2];
  Own numbers;
};

// Queries, the new key and the new value of a task: normed, turned, and in shared memory; the new ones in their page, too.
__device__ __forceinline__ void place_heads(
    AttentionRoom& room, const Task& task, const Words& words, uint32 flag, const Layer& layer, float epsilon,
    const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated, const int* table, int page_size) {
  const int warp = threadIdx.x / 32, first = threadIdx.x % 32 * OWN;
  float cosines[OWN], sines[OWN];
  turning(cosine, sine, task.row, rotated, cosines, sines);
  for (int h = warp; h < GROUP + 2; h += WARPS) {
    const bool is_query = h < GROUP, is_value = h == GROUP + 1;
    const int head = is_query ? task.head * GROUP + h : is_value ? HEADS + KEY_VALUE_HEADS + task.head : HEADS + task.head;
    const bf16* weight = is_query ? layer.query_norm : is_value ? nullptr : layer.key_norm;
    float weights[OWN];
#pragma unroll
    for (int k = 0; k < OWN; ++k) weights[k] = weight ? wide(weight[first + k]) : 1;
    OwnPairs pairs;
    bool all;
    do {
      all = true;
#pragma unroll
      for (int w = 0; w < OWN / 2; ++w) {
        const uint64 word = look(words.query_key_value[task.row] + (head * HEAD + first) / 2 + w);
        all &= word >> 32 == flag;
        pairs.words[w] = (uint32)word;
      }
    } while (!all);
    __syncwarp();
    if (!is_value) pairs.numbers = norm_and_turn(pairs.numbers, weight, weights, epsilon, cosines, sines, rotated);
    *(Own*)((bf16*)(is_query ? room.queries[h] : is_value ? room.value : room.key) + first) = pairs.numbers;
  }
  sync_block();
  if (task.has_last()) {
    const int last = task.length - 1, i = threadIdx.x % (HEAD / 8);
    const long slot = (long)table[last / page_size] * page_size + last % page_size;
    const long place = (slot * KEY_VALUE_HEADS + task.head) * (HEAD / 8) + i;
    if (threadIdx.x < HEAD / 8) ((Eight*)layer.keys)[place] = room.key[i];
    else if (threadIdx.x < HEAD / 4) ((Eight*)layer.values)[place] = room.value[i];
  }
}

struct Tile { Eight key[2][HEAD / 32], value[4][HEAD / 64]; };

// Puts the new key and value where a tile has the last token, or in place of tokens past it.
__device__ __forceinline__ void add_last(
    const AttentionRoom& room, int base, int last, int r, int c, Tile& tile) {
#pragma unroll
  for (int b = 0; b < 2; ++b)
#pragma unroll
    for (int i = 0; i < HEAD / 32; ++i)
      if (base + b * 8 + r >= last) tile.key[b][i] = room.key[i * 4 + c];
#pragma unroll
  for (int t = 0; t < 4; ++t)
#pragma unroll
    for (int i = 0; i < HEAD / 64; ++i)
      if (base + 2 * c + t % 2 + t / 2 * 8 >= last) tile.value[t][i] = room.value[i * 8 + r];
}

__device__ __forceinline__ void attend(
    AttentionRoom& room, const Task& task, Words& words, uint32 flag, const Layer& layer, float epsilon,
    const bf16* cosine, const bf16* sine, int rotated, const int* table, int page_size, float log_scale) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;
  const Context context = {layer.keys, layer.values, table, page_size, (long)KEY_VALUE_HEADS * HEAD, (long)task.head * HEAD};
  Tile tile;
  int base = task.begin + warp * TILE;
  if (base < task.end) load_tile(context, base, task.end, r, c, tile.key, tile.value);
  place_heads(room, task, words, flag, layer, epsilon, cosine, sine, rotated, table, page_size);
  uint32 query[PRODUCTS][2];
#pragma unroll
  for (int i = 0; i < HEAD / 32; ++i) {
    Eight eight = {};
    if (r < GROUP) eight = room.queries[r][i * 4 + c];
#pragma unroll
    for (int w = 0; w < 4; ++w) query[2 * i + w / 2][w % 2] = eight.words[w];
  }
  TileSums sums;
  while (base < task.end) {
    if (task.has_last() && base + TILE >= task.length) add_last(room, base, task.length - 1, r, c, tile);
    sums.add(query, tile.key, tile.value, base, task.end, log_scale, c);
    base += WARPS * TILE;
    if (base < task.end) load_tile(context, base, task.end, r, c, tile.key, tile.value);
  }
  sums.keep(room.sums, warp, r, c);
  sync_block();
  for (int index = threadIdx.x; index < GROUP * HEAD / 2; index += THREADS) {
    const int g = index / (HEAD / 2), d = index % (HEAD / 2) * 2, head = task.head * GROUP + g;
    float all, total, sum[2];
    room.sums.join(g, d, all, total, sum);
    if (task.cut.parts == 1) {
      tell(words.heads[task.row] + (head * HEAD + d) / 2,
           total > 0 ? pack(sum[0] / total, sum[1] / total) : 0, flag);
    } else {
      uint64* part = words.parts[task.row][head][task.part];
      tell(part + d, __float_as_uint(sum[0]), flag);
      tell(part + d + 1, __float_as_uint(sum[1]), flag);
      if (d == 0) {
        tell(part + HEAD, __float_as_uint(all), flag);
        tell(part + HEAD + 1, __float_as_uint(total), flag);
      }
    }
  }
  sync_block();
}

// Puts the parts of a row's contexts together, for one head; a thread a dimension.
__device__ __forceinline__ void join_parts(int row, int head, int parts, Words& words, uint32 flag) {
  const int d = threadIdx.x, lane = d % 32;
  if (d >= HEAD) return;
  const uint64(*own)[PART] = words.parts[row][head];
  uint64 most, weight;
  do {
    most = look(own[min(lane, parts - 1)] + HEAD);
    weight = look(own[min(lane, parts - 1)] + HEAD + 1);
  } while (most >> 32 != flag || weight >> 32 != flag);
  __syncwarp();
  const float score = lane < parts ? __uint_as_float((uint32)most) : NOTHING;
  float largest = score;
#pragma unroll
  for (int o = 16; o > 0; o /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, o));
  const float scale = largest == NOTHING ? 0 : exp2f(score - largest);
  const float total = sum_of_warp(lane < parts ? __uint_as_float((uint32)weight) * scale : 0);
  constexpr int AT_ONCE = 4;
  float sum = 0;
#pragma unroll 1
  for (int first = 0; first < parts; first += AT_ONCE) {
    uint64 sums[AT_ONCE];
    bool all;
    do {
      all = true;
#pragma unroll
      for (int u = 0; u < AT_ONCE; ++u) sums[u] = look(own[min(first + u, parts - 1)] + d);
#pragma unroll
      for (int u = 0; u < AT_ONCE; ++u) all &= sums[u] >> 32 == flag;
    } while (!all);
    __syncwarp();
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const float share = __shfl_sync(0xffffffffu, scale, first + u);
      if (first + u < parts) sum += __uint_as_float((uint32)sums[u]) * share;
    }
  }
  const float result = total > 0 ? sum / total : 0, next = __shfl_down_sync(0xffffffffu, result, 1);
  if (d % 2 == 0) tell(words.heads[row] + (head * HEAD + d) / 2, pack(result, next), flag);
}

// Asks for the keys and values that the block will look at, so that they come nearer in the meantime.
__device__ __forceinline__ void prefetch(const Layer& layer, const int* pages, int pages_stride, const int* lengths, int page_size) {
  for (int t = blockIdx.x; t < TASKS; t += BLOCKS) {
    const Task task(t, lengths);
    if (task.is_empty()) continue;
    const int* table = pages + (long)task.row * pages_stride;
    for (int token = task.begin + threadIdx.x % 32; token < task.end; token += 32) {
      const long slot = (long)table[token / page_size] * page_size + token % page_size;
      const long place = (slot * KEY_VALUE_HEADS + task.head) * HEAD;
#pragma unroll
      for (int i = 0; i < HEAD; i += 64) {
        asm volatile("prefetch.global.L2 [%0];" ::"l"(layer.keys + place + i));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(layer.values + place + i));
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS + 128, 1) few_rows_layers(
    const bf16* __restrict__ input, const Layer* __restrict__ all_layers, int layer_count, uint64* workspace, float epsilon,
    float head_epsilon, const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated,
    const int* __restrict__ pages, int pages_stride, const int* __restrict__ lengths, int page_size, float scale,
    bf16* __restrict__ output) {
  extern __shared__ __align__(128) unsigned char shared[];
  static_assert(sizeof(AttentionRoom) <= ROOM && ROWS * larger(larger(INNER, ATTENDED), HIDDEN) * 2 <= ROOM && ROOM % 16 == 0);
  Eight* chunks = (Eight*)shared;
  Eight* x = chunks + WARPS * SLOTS * CHUNK;
  AttentionRoom& room = *(AttentionRoom*)x;
  Layer* layers = (Layer*)((unsigned char*)x + ROOM);

  constexpr int MOST_SUMS = larger(
      larger(most_own(QUERY_KEY_VALUE) * QUERY_KEY_VALUE_CUTS, 2 * most_own(INNER) * GATE_UP_CUTS),
      larger(most_own(HIDDEN) * OUTPUT_CUTS, most_own(HIDDEN) * DOWN_CUTS));
  __shared__ float sums[MOST_SUMS * ROWS];
  __shared__ float residual[ROWS][most_own(HIDDEN)];
  __shared__ uint64 loaded[WARPS][SLOTS], free[WARPS][SLOTS];
  __shared__ volatile int reached;  // layers that are begun

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = threadIdx.x; i < layer_count * (int)(sizeof(Layer) / 8); i += blockDim.x) ((uint64*)layers)[i] = ((const uint64*)all_layers)[i];
  for (int i = threadIdx.x; i < WARPS * SLOTS; i += blockDim.x) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(loaded[0] + i)) : "memory");
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(free[0] + i)) : "memory");
  }
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  if (threadIdx.x == 0) reached = 0;
  __syncthreads();
  // Warps that load leave their registers to the others.
  if (warp >= WARPS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (warp == WARPS && lane < WARPS) {
      const Slots slots = {chunks + lane * SLOTS * CHUNK, loaded[lane], free[lane]};
      Stream stream = {layers, layer_count, lane, slots};
      stream.arriving = slots;
      // What is read once need not stay in the cache.
      asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(stream.policy));
      stream.begin_product();
      while (stream.layer < layer_count) stream.load();
    }
    for (int l = 0; warp == WARPS + 1 && l < layer_count; ++l) {
      while (reached < l) __nanosleep(100);
      prefetch(layers[l], pages, pages_stride, lengths, page_size);
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  Slots slots = {chunks + warp * SLOTS * CHUNK, loaded[warp], free[warp]};
  const OwnPart own_qkv(QUERY_KEY_VALUE), own_hidden(HIDDEN), own_inner(INNER);

  Words& words = *(Words*)(workspace + 2);
  const uint32 before = (uint32)look(workspace);
  for (int i = threadIdx.x; i < ROWS * own_hidden.count; i += THREADS) {
    const int r = i / own_hidden.count, own = i % own_hidden.count;
    residual[r][own] = wide(input[(long)r * HIDDEN + own_hidden.first + own]);
  }
  const float log_scale = scale * 1.4426950408889634f;

  for (int l = 0; l < layer_count; ++l) {
    const Layer& layer = layers[l];
    const uint32 flag = before + l + 1;
    if (threadIdx.x == 0) reached = l;

    // Queries, keys and values.
    const NormWeights input_norm(layer.input_norm);
    if (l == 0) {
      for (int i = threadIdx.x; i < ROWS * HIDDEN / 8; i += THREADS) x[i] = ((const Eight*)input)[i];
    } else {
      hear<ROWS * HIDDEN / 2>(words.hidden[0], flag - 1, x);
    }
    norm_rows(x, input_norm, epsilon);
    multiply_rows<QkvShares, QUERY_KEY_VALUE_CUTS>(slots, own_qkv.count, x, sums);
    sync_block();
    for (int i = threadIdx.x; i < ROWS * own_qkv.count / 2; i += THREADS) {
      const int r = i / (own_qkv.count / 2), own = i % (own_qkv.count / 2) * 2, column = own_qkv.first + own;
      auto made = [&](int next) {
        return sum_of<QUERY_KEY_VALUE_CUTS>(sums, own + next, r, layer.query_key_value_bias, column + next);
      };
      tell(words.query_key_value[r] + column / 2, pack(made(0), made(1)), flag);
    }

    // Attention.
    for (int t = blockIdx.x; t < TASKS; t += BLOCKS) {
      const Task task(t, lengths);
      if (!task.is_empty())
        attend(room, task, words, flag, layer, head_epsilon, cosine, sine, rotated, pages + (long)task.row * pages_stride,
               page_size, log_scale);
    }
    // By blocks that had least to do before.
    for (int t = BLOCKS - 1 - blockIdx.x; t < ROWS * HEADS; t += BLOCKS) {
      const Cut cut(lengths[t / HEADS]);
      if (cut.parts > 1) join_parts(t / HEADS, t % HEADS, cut.parts, words, flag);
    }
    hear<ROWS * ATTENDED / 2>(words.heads[0], flag, x);
    sync_block();
    multiply_rows<OutShares, OUTPUT_CUTS>(slots, own_hidden.count, x, sums);
    sync_block();
    tell_hidden<OUTPUT_CUTS>(sums, layer.output_bias, residual, own_hidden, words.middle, flag, nullptr);

    // Feed-forward.
    const NormWeights middle_norm(layer.middle_norm);
    hear<ROWS * HIDDEN / 2>(words.middle[0], flag, x);
    norm_rows(x, middle_norm, epsilon);
    multiply_rows<GateShares, GATE_UP_CUTS>(slots, 2 * own_inner.count, x, sums);
    sync_block();
    for (int i = threadIdx.x; i < ROWS * own_inner.count / 2; i += THREADS) {
      const int r = i / (own_inner.count / 2), own = i % (own_inner.count / 2) * 2, column = own_inner.first + own;
      auto made = [&](int next) {
        auto product = [&](int which) {
          return rounded(sum_of<GATE_UP_CUTS>(sums, 2 * (own + next) + which, r, layer.gate_up_bias, column + next + which * INNER));
        };
        return silu_times(product(0), product(1));
      };
      tell(words.inner[r] + column / 2, pack(made(0), made(1)), flag);
    }
    hear<ROWS * INNER / 2>(words.inner[0], flag, x);
    // All blocks have begun, and know where the count stood.
    if (l == layer_count - 1 && blockIdx.x == 0 && threadIdx.x == 0) *workspace = before + layer_count;
    sync_block();
    multiply_rows<DownShares, DOWN_CUTS>(slots, own_hidden.count, x, sums);
    sync_block();
    tell_hidden<DOWN_CUTS>(
        sums, layer.down_bias, residual, own_hidden, words.hidden, flag, l == layer_count - 1 ? output : nullptr);
  }
}
)cuda"
