R"cuda(
// Attention of few_rows_layers: tasks of the blocks, of a row, a key-value head and a part of the row's context each.
// PAGE_SIZE: tokens of a page.

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

// Queries, the new key and the new value of a task: normed, turned, and in shared memory.
__device__ __forceinline__ void place_heads(
    AttentionRoom& room, const Task& task, const Words& words, uint32 flag, const Layer& layer, float epsilon,
    const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated) {
  const int warp = threadIdx.x / 32, first = threadIdx.x % 32 * OWN;
  float cosines[OWN], sines[OWN];
  Turn turn;
  turn.fetch(cosine, sine, task.row, rotated);
  turn.unpack(rotated, cosines, sines);
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
    const bf16* cosine, const bf16* sine, int rotated, const int* table, float log_scale) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;
  const Context context = {layer.keys, layer.values, table, PAGE_SIZE, (long)KEY_VALUE_HEADS * HEAD, (long)task.head * HEAD};
  Tile tile;
  int base = task.begin + warp * TILE;
  if (base < task.end) load_tile(context, base, task.end, r, c, tile.key, tile.value);
  place_heads(room, task, words, flag, layer, epsilon, cosine, sine, rotated);
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
  sums.keep(room.sums, GROUP, warp, r, c);
  sync_block();
  for (int index = threadIdx.x; index < GROUP * HEAD / 2; index += THREADS) {
    const int g = index / (HEAD / 2), d = index % (HEAD / 2) * 2, head = task.head * GROUP + g;
    float all, total, sum[2];
    room.sums.join(g, d, all, total, sum);
    if (task.cut.parts == 1) {
      tell_all(words.heard[0].heads[task.row] + (head * HEAD + d) / 2,
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
  // Nobody waits for the new ones in their page.
  if (task.has_last()) {
    const int last = task.length - 1, i = threadIdx.x % (HEAD / 8);
    const long slot = (long)table[last / PAGE_SIZE] * PAGE_SIZE + last % PAGE_SIZE;
    const long place = (slot * KEY_VALUE_HEADS + task.head) * (HEAD / 8) + i;
    if (threadIdx.x < HEAD / 8) ((Eight*)layer.keys)[place] = room.key[i];
    else if (threadIdx.x < HEAD / 4) ((Eight*)layer.values)[place] = room.value[i];
  }
  sync_block();
}

// Puts the parts of a row's contexts together, for one head; a thread a dimension.
__device__ __forceinline__ void join_parts(int row, int head, int parts, Words& words, uint32 flag) {
  const int d = threadIdx.x, lane = d % 32;
  if (d >= HEAD) return;
  const uint64(*own)[PART] = words.parts[row][head];
  // Of each part a lane has the largest score and the weight, and every thread its dimension's sum, of the first parts at once.
  constexpr int AT_ONCE = 4;
  uint64 most, weight, sums[AT_ONCE];
  auto look_at_sums = [&](int first) {
    bool all = true;
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) sums[u] = look(own[min(first + u, parts - 1)] + d);
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) all &= sums[u] >> 32 == flag;
    return all;
  };
  bool all;
  do {
    most = look(own[min(lane, parts - 1)] + HEAD);
    weight = look(own[min(lane, parts - 1)] + HEAD + 1);
    all = look_at_sums(0) && most >> 32 == flag && weight >> 32 == flag;
  } while (!all);
  __syncwarp();
  const float score = lane < parts ? __uint_as_float((uint32)most) : NOTHING;
  float largest = score;
#pragma unroll
  for (int o = 16; o > 0; o /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, o));
  const float scale = largest == NOTHING ? 0 : exp2f(score - largest);
  const float total = sum_of_warp(lane < parts ? __uint_as_float((uint32)weight) * scale : 0);
  float sum = 0;
#pragma unroll 1
  for (int first = 0; first < parts; first += AT_ONCE) {
    if (first > 0) {
      while (!look_at_sums(first)) {}
      __syncwarp();
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const float share = __shfl_sync(0xffffffffu, scale, first + u);
      if (first + u < parts) sum += __uint_as_float((uint32)sums[u]) * share;
    }
  }
  const float result = total > 0 ? sum / total : 0, next = __shfl_down_sync(0xffffffffu, result, 1);
  if (d % 2 == 0) tell_all(words.heard[0].heads[row] + (head * HEAD + d) / 2, pack(result, next), flag);
}

// Asks for the keys and values that the block will look at, so that they come nearer in the meantime.
__device__ __forceinline__ void prefetch(
    const Layer& layer, const int* pages, int pages_stride, const int* lengths) {
  for (int t = blockIdx.x; t < TASKS; t += BLOCKS) {
    const Task task(t, lengths);
    if (task.is_empty()) continue;
    const int* table = pages + (long)task.row * pages_stride;
    for (int token = task.begin + threadIdx.x % 32; token < task.end; token += 32) {
      const long slot = (long)table[token / PAGE_SIZE] * PAGE_SIZE + token % PAGE_SIZE;
      const long place = (slot * KEY_VALUE_HEADS + task.head) * HEAD;
#pragma unroll
      for (int i = 0; i < HEAD; i += 64) {
        asm volatile("prefetch.global.L2 [%0];" ::"l"(layer.keys + place + i));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(layer.values + place + i));
      }
    }
  }
}
)cuda"
