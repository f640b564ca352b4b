R"cuda(
// invariant_decode_attention of few rows, where waiting is what takes time: a block has one piece at a time, and its warps load
// all of it at once; blocks of a cluster take pieces in turn and join them through each other's shared memory. Of a piece, each
// number is found by the instructions, and in the order, of a warp that has it for itself: scores of different tiles, and sums
// of different dimensions, do not depend on each other, so that warps share them.
// CLUSTER: blocks that share a context, one after another in the grid's last dimension.
#if __CUDA_ARCH__ >= 900 && defined(CLUSTER)
constexpr int TILES = PIECE / TILE;
constexpr int OWN_TILES = TILES / WARPS;        // of whose keys a warp finds the scores
constexpr int OWN_PRODUCTS = PRODUCTS / WARPS;  // of values, of OWN numbers of each lane
static_assert(2 * OWN_PRODUCTS == OWN);

// Waits for the cluster's other blocks; what they wrote to shared memory can be read.
__device__ __forceinline__ void sync_cluster() {
  asm volatile("barrier.cluster.arrive;\nbarrier.cluster.wait;" ::: "memory");
}
// A number in the shared memory of another block of the cluster, where this block's stands in its own.
__device__ __forceinline__ float of_block(const float& number, int block) {
  uint32 address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(&number)), "r"(block));
  float result;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(result) : "r"(address) : "memory");
  return result;
}

// A piece's keys and values in registers: of keys a warp's tiles, of values a warp's dimensions.
struct Loads {
  struct __align__(2 * OWN) Words { uint32 words[OWN / 2]; };  // a lane's dimensions of a token
  Eight keys[OWN_TILES][2][HEAD / 32];
  Words values[TILES][4];

  // Tiles of the piece that begins at `begin`, of which is_wanted(base) says whether they are loaded. Pages hold whole tiles.
  template <class IsWanted>
  __device__ __forceinline__ void load_keys(const Context& context, int begin, int length, IsWanted is_wanted) {
    const int warp = threadIdx.x / 32, r = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
    each_tile<OWN_TILES>(context, begin, length, warp * OWN_TILES, is_wanted, [&](int t, int base, int slot) {
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        const bf16* at = context.keys + place(context, slot, base, b * 8 + r, length) + c * 8;
#pragma unroll
        for (int i = 0; i < HEAD / 32; ++i) keys[t][b][i] = *(const Eight*)(at + i * 32);
      }
    });
  }
  template <class IsWanted>
  __device__ __forceinline__ void load_values(const Context& context, int begin, int length, IsWanted is_wanted) {
    const int warp = threadIdx.x / 32, r = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
    each_tile<TILES>(context, begin, length, 0, is_wanted, [&](int t, int base, int slot) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        values[t][k] = *(const Words*)(context.values + place(context, slot, base, 2 * c + k % 2 + k / 2 * 8, length) +
                                       warp * (HEAD / WARPS) + r * OWN);
    });
  }
  // Of two tokens of a tile a lane's dimension of some number, as a product takes them.
  __device__ __forceinline__ uint32 two(int tile, int token, int number) const {
    return __byte_perm(values[tile][token].words[number / 2], values[tile][token + 1].words[number / 2],
                       number % 2 ? 0x7632 : 0x5410);
  }

 private:
  // take(t, base, slot) for those of COUNT tiles from tile `first` on that are wanted.
  template <int COUNT, class IsWanted, class Take>
  static __device__ __forceinline__ void each_tile(
      const Context& context, int begin, int length, int first, IsWanted is_wanted, Take take) {
    const int slots = slot_of_lane(context, begin, length);
#pragma unroll
    for (int t = 0; t < COUNT; ++t) {
      const int base = begin + (first + t) * TILE, slot = __shfl_sync(0xffffffffu, slots, first + t);
      if (is_wanted(base)) take(t, base, slot);
    }
  }
  // Lane t: where tile t begins.
  static __device__ __forceinline__ int slot_of_lane(const Context& context, int begin, int length) {
    const int base = begin + threadIdx.x % TILES * TILE, token = base < length ? base : begin;
    return context.table[token / context.page_size] * context.page_size + token % context.page_size;
  }
  // Past the context's last token that one again.
  static __device__ __forceinline__ long place(const Context& context, int slot, int base, int offset, int length) {
    return (slot + min(offset, length - 1 - base)) * context.token_stride + context.head_offset;
  }
};

// As invariant_decode_attention, with pages that hold whole tiles.
extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) invariant_cluster_attention(
    const bf16* queries, long query_stride, const bf16* new_keys, long new_key_stride, const bf16* new_values,
    long new_value_stride, bf16* keys, bf16* values, const int* __restrict__ pages, int pages_stride,
    const int* __restrict__ lengths, const int* __restrict__ order, bf16* __restrict__ output, float scale, int page_size,
    int key_value_heads, int group) {
  let_next_begin();
  const int blocks_per_group = (group + EIGHT - 1) / EIGHT;
  const int key_value_head = blockIdx.x / blocks_per_group;
  const int first_head = key_value_head * group + blockIdx.x % blocks_per_group * EIGHT;
  const int count = min(EIGHT, group - blockIdx.x % blocks_per_group * EIGHT);
  const int row = order[blockIdx.y], own_block = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;
  const int length = lengths[row], pieces = (length + PIECE - 1) / PIECE;
  const float log_scale = scale * 1.4426950408889634f;
  const int* table = pages + (long)row * pages_stride;
  const Context context = {keys, values, table, page_size, (long)key_value_heads * HEAD, (long)key_value_head * HEAD};

  __shared__ float shared_scores[EIGHT][PIECE + 8];
  // Of one piece and the next.
  __shared__ float shared_sums[2][EIGHT][HEAD], shared_most[2][EIGHT], shared_weight[2][EIGHT];

  // All but the last token of a context, and where it lies, was there before this step.
  Loads loads;
  if (own_block < pieces) {
    auto was_there = [&](int base) { return base + TILE < length; };
    loads.load_keys(context, own_block * PIECE, length, was_there);
    loads.load_values(context, own_block * PIECE, length, was_there);
  }
  wait_for_earlier();
  Queries<1> query;
  load(query, 0, r < count ? queries + row * query_stride + (first_head + r) * HEAD : nullptr, c);
  if (new_keys && pieces > 0 && (pieces - 1) % CLUSTER == own_block)
    write_last(new_keys + row * new_key_stride, new_values + row * new_value_stride, keys, values, table, length, page_size,
               key_value_head, key_value_heads);
  if (own_block == pieces - 1) {
    auto is_last = [&](int base) { return base < length && base + TILE >= length; };
    loads.load_keys(context, own_block * PIECE, length, is_last);
    loads.load_values(context, own_block * PIECE, length, is_last);
  }

  // Numbers of the result that a thread of the cluster joins.
  constexpr int JOINED = (EIGHT * HEAD + CLUSTER * WARPS * 32 - 1) / (CLUSTER * WARPS * 32);
  float sums[JOINED] = {}, most[JOINED], weights[JOINED] = {};
#pragma unroll
  for (int k = 0; k < JOINED; ++k) most[k] = NOTHING;
  auto index = [&](int k) { return (k * CLUSTER + own_block) * WARPS * 32 + (int)threadIdx.x; };

  for (int first_piece = 0, at = 0; first_piece < pieces; first_piece += CLUSTER, at ^= 1) {
    const int begin = (first_piece + own_block) * PIECE, next_begin = begin + CLUSTER * PIECE;
    if (begin < length) {
      auto is_there = [&](int base) { return base < length; };
#pragma unroll
      for (int t = 0; t < OWN_TILES; ++t) {
        const int tile = warp * OWN_TILES + t, base = begin + tile * TILE;
        // Of query r and tokens 2 c, 2 c + 1 of both halves of the tile.
        float scores[2][4] = {};
#pragma unroll
        for (int b = 0; b < 2; ++b) {
          if (!is_there(base)) continue;
#pragma unroll
          for (int i = 0; i < HEAD / 32; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half)
              multiply(scores[b], query.words[0][2 * i + half][0], 0, query.words[0][2 * i + half][1], 0,
                       loads.keys[t][b][i].words[2 * half], loads.keys[t][b][i].words[2 * half + 1]);
        }
#pragma unroll
        for (int b = 0; b < 2; ++b)
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const int token = b * 8 + 2 * c + k;
            shared_scores[r][tile * TILE + token] = base + token < length ? __fmul_rn(scores[b][k], log_scale) : NOTHING;
          }
      }
      if (next_begin < length) loads.load_keys(context, next_begin, length, is_there);
      __syncthreads();

      // Each warp finds all shares for itself.
      float shares[TILES][2][2], largest[TILES];
#pragma unroll
      for (int t = 0; t < TILES; ++t) {
        float tile_most = NOTHING;
#pragma unroll
        for (int b = 0; b < 2; ++b) {
          const float2 two = *(const float2*)&shared_scores[r][t * TILE + b * 8 + 2 * c];
          shares[t][b][0] = two.x;
          shares[t][b][1] = two.y;
          tile_most = fmaxf(tile_most, fmaxf(two.x, two.y));
        }
        tile_most = fmaxf(tile_most, __shfl_xor_sync(0xffffffffu, tile_most, 1));
        largest[t] = fmaxf(tile_most, __shfl_xor_sync(0xffffffffu, tile_most, 2));
      }
      float piece_sums[OWN_PRODUCTS][4] = {}, piece_most = NOTHING, piece_weight = 0;
#pragma unroll
      for (int t = 0; t < TILES; ++t) {
        if (!is_there(begin + t * TILE)) continue;
        const float next = fmaxf(piece_most, largest[t]), kept = factor(piece_most, next);
        piece_most = next;
        piece_weight = __fmul_rn(piece_weight, kept);
        uint32 packed[2];
#pragma unroll
        for (int b = 0; b < 2; ++b) {
          float own[2];
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            own[k] = factor(shares[t][b][k], next);
            piece_weight = __fadd_rn(piece_weight, own[k]);
          }
          packed[b] = pack(own[0], own[1]);
        }
        const float even = __shfl_sync(0xffffffffu, kept, 8 * c), odd = __shfl_sync(0xffffffffu, kept, 8 * c + 4);
#pragma unroll
        for (int m = 0; m < OWN_PRODUCTS; ++m) {
#pragma unroll
          for (int i = 0; i < 4; ++i) piece_sums[m][i] = __fmul_rn(piece_sums[m][i], i % 2 ? odd : even);
          multiply(piece_sums[m], loads.two(t, 0, m), loads.two(t, 0, m + OWN_PRODUCTS), loads.two(t, 2, m),
                   loads.two(t, 2, m + OWN_PRODUCTS), packed[0], packed[1]);
        }
      }
      if (next_begin < length) loads.load_values(context, next_begin, length, is_there);
      piece_weight = sum_of_four(piece_weight);
#pragma unroll
      for (int m = 0; m < OWN_PRODUCTS; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          shared_sums[at][2 * c + i % 2][warp * (HEAD / WARPS) + r * OWN + m + i / 2 * OWN_PRODUCTS] = piece_sums[m][i];
      if (warp == 0 && c == 0) {
        shared_most[at][r] = piece_most;
        shared_weight[at][r] = piece_weight;
      }
    }
    sync_cluster();
#pragma unroll
    for (int k = 0; k < JOINED; ++k) {
      const int head = index(k) / HEAD, dimension = index(k) % HEAD;
      if (head >= count) continue;
      float piece_sums[CLUSTER], piece_most[CLUSTER], piece_weights[CLUSTER];
#pragma unroll
      for (int b = 0; b < CLUSTER; ++b) {
        if (first_piece + b >= pieces) continue;
        piece_sums[b] = of_block(shared_sums[at][head][dimension], b);
        piece_most[b] = of_block(shared_most[at][head], b);
        piece_weights[b] = of_block(shared_weight[at][head], b);
      }
#pragma unroll
      for (int b = 0; b < CLUSTER; ++b) {
        if (first_piece + b >= pieces) continue;
        const float all = fmaxf(most[k], piece_most[b]), kept = factor(most[k], all), share = factor(piece_most[b], all);
        sums[k] = joined(sums[k], kept, piece_sums[b], share);
        weights[k] = joined(weights[k], kept, piece_weights[b], share);
        most[k] = all;
      }
    }
  }
#pragma unroll
  for (int k = 0; k < JOINED; ++k) {
    const int head = index(k) / HEAD, dimension = index(k) % HEAD;
    if (head < count)
      output[((long)row * key_value_heads * group + first_head + head) * HEAD + dimension] = quotient(sums[k], weights[k]);
  }
  // Others may still read this block's shared memory.
  sync_cluster();
}
#endif
)cuda"
