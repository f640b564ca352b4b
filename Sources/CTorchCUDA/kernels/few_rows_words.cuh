R"cuda(
// What blocks of few_rows_layers know of a model and tell each other.
//
// ROWS, HIDDEN, INNER, HEADS, KEY_VALUE_HEADS, HEAD: the model's sizes. FLOAT8: its weights are e4m3 with a scale for each output.
// BLOCKS: of the grid. SPLITS: parts of a context at most.

constexpr int WARPS = 8, THREADS = WARPS * 32;  // that multiply; four warps more load
constexpr int QUERIES = 8;
constexpr int LEAST_TOKENS = WARPS * TILE;      // of a context's part, if there are several
constexpr int TOGETHER = 4;                     // rows of a weight that a warp multiplies at once
constexpr int QUERY_KEY_VALUE = (HEADS + 2 * KEY_VALUE_HEADS) * HEAD, ATTENDED = HEADS * HEAD;
constexpr int GROUP = HEADS / KEY_VALUE_HEADS;
static_assert(GROUP <= QUERIES);

#ifdef FLOAT8
typedef unsigned char Weight;
#else
typedef bf16 Weight;
#endif
constexpr int NUMBERS = 16 / sizeof(Weight);    // of a weight's piece, which one load brings

// The products of a layer: of queries, keys and values, of what attention gives, of gate and up, of what they give.
enum Product { QKV, OUT, GATE, DOWN, PRODUCTS_OF_LAYER };

// What the kernel knows of a layer; biases and the norms of heads may be missing, and scales are only those of e4m3.
struct Matrix {
  const Weight* weight;
  const float* scales;
  const bf16* bias;
};
struct Layer {
  Matrix matrices[PRODUCTS_OF_LAYER];
  const bf16 *input_norm, *middle_norm, *query_norm, *key_norm;
  bf16 *keys, *values;
};

// Words of what blocks tell each other, in the workspace behind the count of layers that were run. What all blocks hear is there
// COPIES times, each for some of them: they would keep each other waiting for one.
constexpr int PART = HEAD + 2;  // sums of a part of a context, the largest score, the weight
struct Heard {
  uint64 heads[ROWS][ATTENDED / 2], middle[ROWS][HIDDEN / 2], inner[ROWS][INNER / 2], hidden[ROWS][HIDDEN / 2];
};
struct Words {
  Heard heard[COPIES];
  uint64 query_key_value[ROWS][QUERY_KEY_VALUE / 2], parts[ROWS][HEADS][SPLITS][PART];
};

// The warps that multiply wait for each other.
__device__ __forceinline__ void sync_block() { asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory"); }

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
// A word of the first copy, and of the others.
__device__ __forceinline__ void tell_all(uint64* word, uint32 value, uint32 flag) {
#pragma unroll
  for (int copy = 0; copy < COPIES; ++copy) tell(word + copy * (sizeof(Heard) / sizeof(uint64)), value, flag);
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

__device__ constexpr int larger(int a, int b) { return a > b ? a : b; }
__device__ constexpr int most_own(int numbers) { return 2 * (numbers / 2 / BLOCKS + 1); }
)cuda"
