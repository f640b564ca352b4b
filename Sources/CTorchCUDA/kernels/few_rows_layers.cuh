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

// The root-mean-square norms of ROWS rows, of which each thread has four numbers here and there from the moment they are heard.
struct Norms {
  static constexpr int FOURS = HIDDEN / 4, MINE = (FOURS + THREADS - 1) / THREADS;
  uint2 weights[MINE], numbers[ROWS][MINE];

  __device__ explicit Norms(const bf16* weight) {
#pragma unroll
    for (int u = 0; u < MINE; ++u)
      if (is_own(u)) weights[u] = ((const uint2*)weight)[threadIdx.x + u * THREADS];
  }
  static __device__ __forceinline__ bool is_own(int u) { return threadIdx.x + u * THREADS < FOURS; }

  __device__ __forceinline__ void read(const bf16* rows) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int u = 0; u < MINE; ++u)
        if (is_own(u)) numbers[r][u] = ((const uint2*)rows)[r * FOURS + threadIdx.x + u * THREADS];
  }
  __device__ __forceinline__ void hear(const uint64 (&words)[ROWS][HIDDEN / 2], uint32 flag) {
    bool all;
    do {
      uint64 heard[ROWS][MINE][2];
      all = true;
#pragma unroll
      for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int u = 0; u < MINE; ++u)
          if (is_own(u)) look_at_two(words[r] + 2 * (threadIdx.x + u * THREADS), heard[r][u]);
#pragma unroll
      for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int u = 0; u < MINE; ++u) {
          if (!is_own(u)) continue;
          all &= heard[r][u][0] >> 32 == flag && heard[r][u][1] >> 32 == flag;
          numbers[r][u] = {(uint32)heard[r][u][0], (uint32)heard[r][u][1]};
        }
    } while (!all);
  }

  // To x, once all have theirs.
  __device__ __forceinline__ void put(Eight* x, float epsilon) {
    __shared__ float squares[ROWS][WARPS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      float sum = 0;
#pragma unroll
      for (int u = 0; u < MINE; ++u) {
        if (!is_own(u)) continue;
        float values[4];
        unpack(numbers[r][u], values);
#pragma unroll
        for (int k = 0; k < 4; ++k) sum += values[k] * values[k];
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
        if (!is_own(u)) continue;
        float values[4], scales[4];
        unpack(numbers[r][u], values);
        unpack(weights[u], scales);
#pragma unroll
        for (int k = 0; k < 4; ++k) values[k] = scales[k] * (values[k] * inverse);
        ((uint2*)x)[r * FOURS + threadIdx.x + u * THREADS] = {pack(values[0], values[1]), pack(values[2], values[3])};
      }
    }
  }
};

template <int VALUE>
struct Constant { static constexpr int value = VALUE; };

extern "C" __global__ void __launch_bounds__(THREADS + 128, 1) few_rows_layers(
    const bf16* __restrict__ input, const Layer* __restrict__ all_layers, int layer_count, uint64* workspace, float epsilon,
    const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated, const int* __restrict__ pages,
    int pages_stride, const int* __restrict__ lengths, float scale, bf16* __restrict__ output) {
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
  __shared__ Scaling scalings[2];  // in turn: when one is written, all have left the product before the last
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
      prefetch(layers[l], pages, pages_stride, lengths);
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  Slots slots = {chunks + warp * SLOTS * CHUNK, loaded[warp], free[warp]};
  Words& words = *(Words*)(workspace + 2);
  Heard &said = words.heard[0], &heard = words.heard[blockIdx.x % COPIES];
  const uint32 before = (uint32)look(workspace);
  const Share<DOWN> own_hidden(warp);
  for (int i = threadIdx.x; i < ROWS * own_hidden.outputs; i += THREADS) {
    const int r = i / own_hidden.outputs, own = i % own_hidden.outputs;
    residual[r][own] = wide(input[(long)r * HIDDEN + own_hidden.first + own]);
  }
  const float log_scale = scale * 1.4426950408889634f;

  for (int l = 0; l < layer_count; ++l) {
    const Layer& layer = layers[l];
    const uint32 flag = before + l + 1;
    const bool is_last = l == layer_count - 1;
    if (threadIdx.x == 0) reached = l;

    auto make = [&](auto constant) {
      constexpr int PRODUCT = decltype(constant)::value;
      const Matrix& matrix = layer.matrices[PRODUCT];
      const Share<PRODUCT> share(warp);
      Scaling& scaling = scalings[PRODUCT % 2];
      scaling.fetch(matrix.scales, share);
      if constexpr (PRODUCT == OUT) {
        hear<ROWS * ATTENDED / 2>(heard.heads[0], flag, x);
      } else if constexpr (PRODUCT == DOWN) {
        hear<ROWS * INNER / 2>(heard.inner[0], flag, x);
        // All blocks have begun, and know where the count stood.
        if (is_last && blockIdx.x == 0 && threadIdx.x == 0) *workspace = before + layer_count;
      } else {
        Norms norms(PRODUCT == QKV ? layer.input_norm : layer.middle_norm);
        if (PRODUCT == GATE) norms.hear(heard.middle, flag);
        else if (l > 0) norms.hear(heard.hidden, flag - 1);
        else norms.read(input);
        norms.put(x, epsilon);
      }
      make_factors<Sizes<PRODUCT>::INPUTS>(x, scaling);
      multiply_rows(slots, share, x, sums);
      scaling.wait();
      sync_block();
      for (int i = threadIdx.x; i < ROWS * share.outputs / 2; i += THREADS) {
        const Made<PRODUCT> made(sums, scaling, share, matrix.bias, i);
        const int own = made.first, r = made.row, column = made.column();
        if constexpr (PRODUCT == QKV) {
          tell(words.query_key_value[r] + column / 2, pack(made.sum(own), made.sum(own + 1)), flag);
        } else if constexpr (PRODUCT == GATE) {
          auto gated = [&](int own) { return silu_times(rounded(made.sum(2 * own)), rounded(made.sum(2 * own + 1))); };
          tell_all(said.inner[r] + column / 2, pack(gated(own), gated(own + 1)), flag);
        } else {
          float* hidden = residual[r] + own;
#pragma unroll
          for (int next = 0; next < 2; ++next) hidden[next] = rounded(rounded(made.sum(own + next)) + hidden[next]);
          const uint32 pair = pack(hidden[0], hidden[1]);
          if (PRODUCT == DOWN && is_last) *(uint32*)(output + (long)r * HIDDEN + column) = pair;
          else tell_all((PRODUCT == OUT ? said.middle : said.hidden)[r] + column / 2, pair, flag);
        }
      }
    };
    make(Constant<QKV>());
    for (int t = blockIdx.x; t < TASKS; t += BLOCKS) {
      const Task task(t, lengths);
      if (!task.is_empty())
        attend(room, task, words, flag, layer, epsilon, cosine, sine, rotated, pages + (long)task.row * pages_stride, log_scale);
    }
    // By blocks that had least to do before.
    for (int t = BLOCKS - 1 - blockIdx.x; t < ROWS * HEADS; t += BLOCKS) {
      const Cut cut(lengths[t / HEADS]);
      if (cut.parts > 1) join_parts(t / HEADS, t % HEADS, cut.parts, words, flag);
    }
    make(Constant<OUT>());
    make(Constant<GATE>());
    make(Constant<DOWN>());
  }
}
)cuda"
