R"cuda(
// Attention of which a query's result depends on its own context alone, bit for bit, whatever is computed beside it and
// however the context lies. Contexts are cut into pieces of PIECE tokens; a piece is attended to tile by tile with an online
// softmax (Dao et al., 2022), and pieces are put together one after another. Both kernels below do so, with the same
// instructions. Where a compiler might join a product and a sum, or not, it is told which.
// HEAD: dimension of a head.
constexpr int PIECE = 128;
constexpr int EIGHT = 8;                // queries that lanes 4 r + c share: query r is that of four lanes

// What is known of GROUPS times eight queries. Sums are of dimensions [16 of a product] times the group's queries.
template <int GROUPS>
struct Attended {
  float sums[GROUPS][PRODUCTS][4], most[GROUPS], weight[GROUPS];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
      most[g] = NOTHING;
      weight[g] = 0;
#pragma unroll
      for (int m = 0; m < PRODUCTS; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[g][m][i] = 0;
    }
  }
};

template <int GROUPS>
struct Queries { uint32 words[GROUPS][PRODUCTS][2]; };

// Which dimension is which in a product does not matter as long as both sides agree: a lane takes eight neighbours of each
// 32, so that it loads 16 bytes at once. `at`: a query's first number, NULL: there is none.
template <int GROUPS>
__device__ __forceinline__ void load(Queries<GROUPS>& queries, int group, const bf16* at, int c) {
#pragma unroll
  for (int i = 0; i < HEAD / 32; ++i) {
    Eight eight = {};
    if (at) eight = *(const Eight*)(at + i * 32 + c * 8);
#pragma unroll
    for (int w = 0; w < 4; ++w) queries.words[group][2 * i + w / 2][w % 2] = eight.words[w];
  }
}

__device__ __forceinline__ float factor(float most, float all) { return exp2f(__fadd_rn(most, all == NOTHING ? 0 : -all)); }

// One tile. key(b, i): of token b * 8 + r dimensions i * 32 + c * 8 and on; value(t, i): of token 2 c + t % 2 + t / 2 * 8
// dimensions i * 64 + r * 8 and on. `seen`: how many of the tile's tokens query r of each group sees.
template <int GROUPS, class Key, class Value>
__device__ __forceinline__ void attend(
    Attended<GROUPS>& own, const Queries<GROUPS>& queries, Key key, Value value, const int (&seen)[GROUPS], float log_scale,
    int c) {
  // Of query r of both groups and tokens 2 c, 2 c + 1 of both halves of the tile.
  float scores[2][4] = {};
#pragma unroll
  for (int b = 0; b < 2; ++b)
#pragma unroll
    for (int i = 0; i < HEAD / 32; ++i) {
      const Eight eight = key(b, i);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32 a0 = queries.words[0][2 * i + half][0], a2 = queries.words[0][2 * i + half][1];
        const uint32 a1 = GROUPS > 1 ? queries.words[GROUPS - 1][2 * i + half][0] : 0;
        const uint32 a3 = GROUPS > 1 ? queries.words[GROUPS - 1][2 * i + half][1] : 0;
        multiply(scores[b], a0, a1, a2, a3, eight.words[2 * half], eight.words[2 * half + 1]);
      }
    }
  uint32 shares[GROUPS][2];
#pragma unroll
  for (int g = 0; g < GROUPS; ++g) {
    float next = own.most[g];
#pragma unroll
    for (int b = 0; b < 2; ++b)
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        float& score = scores[b][2 * g + t];
        score = b * 8 + 2 * c + t < seen[g] ? __fmul_rn(score, log_scale) : NOTHING;
        next = fmaxf(next, score);
      }
    next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, 1));
    next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, 2));
    const float kept = factor(own.most[g], next);
    own.most[g] = next;
    float weight = __fmul_rn(own.weight[g], kept);
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      float (&pair)[4] = scores[b];
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        pair[2 * g + t] = factor(pair[2 * g + t], next);
        weight = __fadd_rn(weight, pair[2 * g + t]);
      }
      shares[g][b] = pack(pair[2 * g], pair[2 * g + 1]);
    }
    own.weight[g] = weight;
    if (__any_sync(0xffffffffu, kept != 1)) {
      const float even = __shfl_sync(0xffffffffu, kept, 8 * c), odd = __shfl_sync(0xffffffffu, kept, 8 * c + 4);
#pragma unroll
      for (int m = 0; m < PRODUCTS; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) own.sums[g][m][i] = __fmul_rn(own.sums[g][m][i], i % 2 ? odd : even);
    }
  }
  // [dimensions, tokens] times [tokens, queries]. Of a lane's HEAD / 8 dimensions the first half are rows r of the products,
  // the others rows r + 8.
  constexpr int LOADS = HEAD >= 128 ? HEAD / 128 : 1, AT_ONCE = PRODUCTS / LOADS;
#pragma unroll
  for (int i = 0; i < LOADS; ++i) {
    Eight first[4], second[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      first[t] = value(t, i);
      if constexpr (HEAD >= 128) second[t] = value(t, i + LOADS);
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      auto tokens = [&](const Eight (&of)[4], int t, int number) {
        return __byte_perm(of[t].words[number / 2], of[t + 1].words[number / 2], number % 2 ? 0x7632 : 0x5410);
      };
      uint32 a1, a3;
      if constexpr (HEAD >= 128) {
        a1 = tokens(second, 0, k);
        a3 = tokens(second, 2, k);
      } else {
        a1 = tokens(first, 0, k + PRODUCTS);
        a3 = tokens(first, 2, k + PRODUCTS);
      }
#pragma unroll
      for (int g = 0; g < GROUPS; ++g)
        multiply(own.sums[g][i * AT_ONCE + k], tokens(first, 0, k), a1, tokens(first, 2, k), a3, shares[g][0], shares[g][1]);
    }
  }
}

// A lane's sums, of queries 2 c and 2 c + 1, by their dimensions.
template <class Take>
__device__ __forceinline__ void each_sum(const float (&sums)[PRODUCTS][4], int r, Take take) {
#pragma unroll
  for (int m = 0; m < PRODUCTS; ++m)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int own = i < 2 ? m : m + PRODUCTS;
      take(i % 2, own / 8 * 64 + r * 8 + own % 8, sums[m][i]);
    }
}

// Of a query: the four lanes' weights.
__device__ __forceinline__ float sum_of_four(float weight) {
  weight = __fadd_rn(weight, __shfl_xor_sync(0xffffffffu, weight, 1));
  return __fadd_rn(weight, __shfl_xor_sync(0xffffffffu, weight, 2));
}

// A piece's sum, or weight, joined to that of those before it.
__device__ __forceinline__ float joined(float before, float kept, float piece, float share) {
  return __fmaf_rn(piece, share, __fmul_rn(before, kept));
}

__device__ __forceinline__ bf16 quotient(float sum, float weight) { return narrow(weight > 0 ? __fdiv_rn(sum, weight) : 0); }

constexpr int WARPS = 4;

// One query a row over the pages of its context. A block serves up to eight query heads of one key-value head; its warps
// take a piece each. With one split the block joins them; else `parts` is [rows, heads, pieces, HEAD + 2], for `join_pieces`.
extern "C" __global__ void __launch_bounds__(WARPS * 32, HEAD > 128 ? 1 : 3) invariant_decode_attention(
    const bf16* __restrict__ queries, long query_stride, const bf16* __restrict__ new_keys, long new_key_stride,
    const bf16* __restrict__ new_values, long new_value_stride, bf16* keys, bf16* values, const int* __restrict__ pages,
    int pages_stride, const int* __restrict__ lengths, const int* __restrict__ order, float* __restrict__ parts,
    bf16* __restrict__ output, float scale, int page_size, int key_value_heads, int group, int pieces) {
  let_next_begin();
  wait_for_earlier();
  const int blocks_per_group = (group + EIGHT - 1) / EIGHT;
  const int key_value_head = blockIdx.x / blocks_per_group;
  const int first_head = key_value_head * group + blockIdx.x % blocks_per_group * EIGHT;
  const int heads = key_value_heads * group;
  const int count = min(EIGHT, group - blockIdx.x % blocks_per_group * EIGHT);
  // Blocks begin in the order of their numbers: the longest contexts first.
  const int row = order[blockIdx.y], splits = gridDim.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;
  const int length = lengths[row];

  Queries<1> query;
  load(query, 0, r < count ? queries + row * query_stride + (first_head + r) * HEAD : nullptr, c);
  const float log_scale = scale * 1.4426950408889634f;
  const long token_stride = (long)key_value_heads * HEAD;
  const long head_offset = (long)key_value_head * HEAD;
  const int* table = pages + (long)row * pages_stride;
  if (new_keys && length > 0 && (length - 1) / PIECE / WARPS % splits == blockIdx.z)
    write_last(new_keys + row * new_key_stride, new_values + row * new_value_stride, keys, values, table, length, page_size,
               key_value_head, key_value_heads);
  const Context context = {keys, values, table, page_size, token_stride, head_offset};

  constexpr int OWN = EIGHT * HEAD / (WARPS * 32);   // numbers of the result that a thread joins
  __shared__ float shared_sums[WARPS][EIGHT][HEAD], shared_most[WARPS][EIGHT], shared_weight[WARPS][EIGHT];
  float sums[OWN] = {}, most[OWN], weights[OWN] = {};
#pragma unroll
  for (int k = 0; k < OWN; ++k) most[k] = NOTHING;

  for (int first_piece = blockIdx.z * WARPS; first_piece * PIECE < length; first_piece += splits * WARPS) {
    const int piece = first_piece + warp, begin = piece * PIECE, end = min(length, begin + PIECE);
    Attended<1> own;
    own.clear();
    for (int base = begin; base < end; base += TILE) {
      Eight key[2][HEAD / 32], value[4][HEAD / 64];
      load_tile(context, base, end, r, c, key, value);
      const int seen[1] = {end - base};
      attend(own, query, [&](int b, int i) { return key[b][i]; }, [&](int t, int i) { return value[t][i]; }, seen, log_scale, c);
    }
    own.weight[0] = sum_of_four(own.weight[0]);
    if (splits > 1) {
      if (begin >= length) continue;
      auto part = [&](int head) { return parts + (((long)row * heads + first_head + head) * pieces + piece) * (HEAD + 2); };
      each_sum(own.sums[0], r, [&](int odd, int dimension, float sum) {
        if (2 * c + odd < count) part(2 * c + odd)[dimension] = sum;
      });
      if (c == 0 && r < count) {
        part(r)[HEAD] = own.most[0];
        part(r)[HEAD + 1] = own.weight[0];
      }
      continue;
    }
    each_sum(own.sums[0], r, [&](int odd, int dimension, float sum) { shared_sums[warp][2 * c + odd][dimension] = sum; });
    if (c == 0) {
      shared_most[warp][r] = own.most[0];
      shared_weight[warp][r] = own.weight[0];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
      const int index = threadIdx.x + k * WARPS * 32, head = index / HEAD, dimension = index % HEAD;
      for (int w = 0; w < WARPS; ++w) {
        const float all = fmaxf(most[k], shared_most[w][head]);
        const float kept = factor(most[k], all), share = factor(shared_most[w][head], all);
        sums[k] = joined(sums[k], kept, shared_sums[w][head][dimension], share);
        weights[k] = joined(weights[k], kept, shared_weight[w][head], share);
        most[k] = all;
      }
    }
    __syncthreads();
  }
  if (splits > 1) return;
#pragma unroll
  for (int k = 0; k < OWN; ++k) {
    const int index = threadIdx.x + k * WARPS * 32, head = index / HEAD, dimension = index % HEAD;
    if (head < count) output[((long)row * heads + first_head + head) * HEAD + dimension] = quotient(sums[k], weights[k]);
  }
}

// The pieces of each row and head joined; a block each, a thread a dimension.
extern "C" __global__ void join_pieces(
    const float* __restrict__ parts, const int* __restrict__ lengths, bf16* __restrict__ output, int pieces, int heads) {
  let_next_begin();
  wait_for_earlier();
  const int count = (lengths[blockIdx.x / heads] + PIECE - 1) / PIECE;
  const float* own = parts + (long)blockIdx.x * pieces * (HEAD + 2);
  float sum = 0, most = NOTHING, weight = 0;
#pragma unroll 8
  for (int p = 0; p < count; ++p, own += HEAD + 2) {
    const float all = fmaxf(most, own[HEAD]), kept = factor(most, all), share = factor(own[HEAD], all);
    sum = joined(sum, kept, own[threadIdx.x], share);
    weight = joined(weight, kept, own[HEAD + 1], share);
    most = all;
  }
  output[(long)blockIdx.x * HEAD + threadIdx.x] = quotient(sum, weight);
}

// Packed sequences, whose query i sees tokens up to its place: eight warps of GROUPS times eight queries of one head, for
// which keys and values go through shared memory.
constexpr int GROUPS = HEAD > 128 ? 1 : 2;
constexpr int QUERIES = 8 * GROUPS * EIGHT;
constexpr int STAGE = HEAD > 128 ? 16 : 32;    // tokens in shared memory at once; twice, one to come
constexpr int THREADS = 256;
// Rows of shared memory lie so that lanes that read together use different banks.
constexpr int KEY_ROW = HEAD + 32, VALUE_ROW = HEAD + 8;

struct Sequence { int query, queries, first, key; };   // rows of its first query and key, and the first query's place
struct Tile { int sequence, query; };

__device__ __forceinline__ void fetch(bf16* target, const bf16* source) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(target)), "l"(source));
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) invariant_attention(
    const bf16* __restrict__ queries, long query_stride, const bf16* __restrict__ keys, long key_stride,
    const bf16* __restrict__ values, long value_stride, const Sequence* __restrict__ sequences, const Tile* __restrict__ tiles,
    const int* __restrict__ pages, int pages_stride, int page_size, bf16* __restrict__ output, float* __restrict__ log_sums,
    float scale, int group) {
  const int heads = gridDim.x, head = blockIdx.x, key_value_head = head / group;
  const Tile tile = tiles[blockIdx.y];
  const Sequence sequence = sequences[tile.sequence];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;
  const int* table = pages ? pages + (long)tile.sequence * pages_stride : nullptr;
  const int first = tile.query + warp * GROUPS * EIGHT;                 // of the warp's queries, in the sequence
  const int last = min(tile.query + QUERIES, sequence.queries) - 1;     // of the block's
  const int length = sequence.first + last + 1;                         // tokens that it sees

  __shared__ __align__(16) bf16 shared_keys[2][STAGE][KEY_ROW], shared_values[2][STAGE][VALUE_ROW];
  Queries<GROUPS> query;
  int ends[GROUPS];
#pragma unroll
  for (int g = 0; g < GROUPS; ++g) {
    const int own = first + g * EIGHT + r;
    const bool is_there = own < sequence.queries;
    load(query, g, is_there ? queries + (sequence.query + own) * query_stride + head * HEAD : nullptr, c);
    ends[g] = is_there ? sequence.first + own + 1 : 0;
  }
  const float log_scale = scale * 1.4426950408889634f;
  const int warp_end = min(sequence.first + first + GROUPS * EIGHT, length);

  auto stage = [&](int base, int at) {
    constexpr int LOADS = HEAD / 8;
    for (int i = threadIdx.x; i < STAGE * LOADS; i += THREADS) {
      const int row = i / LOADS, column = i % LOADS * 8, token = min(base + row, length - 1);
      const long slot = table ? (long)table[token / page_size] * page_size + token % page_size : (long)sequence.key + token;
      fetch(&shared_keys[at][row][column], keys + slot * key_stride + key_value_head * HEAD + column);
      fetch(&shared_values[at][row][column], values + slot * value_stride + key_value_head * HEAD + column);
    }
    asm volatile("cp.async.commit_group;");
  };

  Attended<GROUPS> all, own;
  all.clear();
  own.clear();
  stage(0, 0);
  for (int base = 0, at = 0; base < length; base += STAGE, at ^= 1) {
    asm volatile("cp.async.wait_all;");
    __syncthreads();
    if (base + STAGE < length) stage(base + STAGE, at ^ 1);
#pragma unroll
    for (int t = 0; t < STAGE; t += TILE) {
      if (base + t >= warp_end) break;
      int seen[GROUPS];
#pragma unroll
      for (int g = 0; g < GROUPS; ++g) seen[g] = ends[g] - base - t;
      attend(
          own, query, [&](int b, int i) { return *(const Eight*)&shared_keys[at][t + b * 8 + r][i * 32 + c * 8]; },
          [&](int k, int i) { return *(const Eight*)&shared_values[at][t + 2 * c + k % 2 + k / 2 * 8][i * 64 + r * 8]; }, seen,
          log_scale, c);
    }
    if ((base + STAGE) % PIECE != 0 && base + STAGE < length) continue;
    if (base / PIECE * PIECE >= warp_end) continue;
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
      const float most = fmaxf(all.most[g], own.most[g]);
      const float kept = factor(all.most[g], most), share = factor(own.most[g], most);
      all.most[g] = most;
      all.weight[g] = joined(all.weight[g], kept, sum_of_four(own.weight[g]), share);
      const float kepts[2] = {__shfl_sync(0xffffffffu, kept, 8 * c), __shfl_sync(0xffffffffu, kept, 8 * c + 4)};
      const float shares[2] = {__shfl_sync(0xffffffffu, share, 8 * c), __shfl_sync(0xffffffffu, share, 8 * c + 4)};
#pragma unroll
      for (int m = 0; m < PRODUCTS; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) all.sums[g][m][i] = joined(all.sums[g][m][i], kepts[i % 2], own.sums[g][m][i], shares[i % 2]);
    }
    own.clear();
  }

#pragma unroll
  for (int g = 0; g < GROUPS; ++g) {
    const int place = first + g * EIGHT;
    const float weights[2] = {
        __shfl_sync(0xffffffffu, all.weight[g], 8 * c), __shfl_sync(0xffffffffu, all.weight[g], 8 * c + 4)};
    each_sum(all.sums[g], r, [&](int odd, int dimension, float sum) {
      const int query = place + 2 * c + odd;
      if (query < sequence.queries)
        output[((long)(sequence.query + query) * heads + head) * HEAD + dimension] = quotient(sum, weights[odd]);
    });
    if (c == 0 && log_sums && place + r < sequence.queries)
      log_sums[(long)(sequence.query + place + r) * heads + head] = (all.most[g] + log2f(all.weight[g])) * 0.6931471805599453f;
  }
}
)cuda"
