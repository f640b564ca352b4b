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
// ROOM: bytes of shared memory for what is multiplied, or attention.

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
  for (int i = threadIdx.x; i < layer_count * (int)(sizeof(Layer) / 8); i += blockDim.x)
    ((uint64*)layers)[i] = ((const uint64*)all_layers)[i];
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
          return rounded(sum_of<GATE_UP_CUTS>(
              sums, 2 * (own + next) + which, r, layer.gate_up_bias, column + next + which * INNER));
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
