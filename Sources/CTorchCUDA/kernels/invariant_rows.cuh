R"cuda(
// What invariant_products multiplies, found by each block for itself, so that no other kernel has to, in the bits of the kernels
// that find it for many rows:
//   NORMED: the root-mean-square norm of the input's rows, as add_norm. So many eights of a row each thread norms.
//   GATED: silu(gate) * up of rows [gate | up], as silu_multiply.
//   else the input's rows.
constexpr int THREADS = 256;  // all of them find x, some make outputs
constexpr int APART = 16;     // bytes between rows: eight lines that are read at once begin at different banks

// x in shared memory, each row filled up with zeros to whole chunks. `own`: eights of a row there; `inverse`: 2³² / own, rounded
// up, which finds a number's row without a division.
struct X {
  unsigned char* bytes;
  int own;
  uint32 inverse;
  __device__ X(unsigned char* bytes, int own) : bytes(bytes), own(own), inverse(0xffffffffu / own + 1) {}
  __device__ int row(int eight) const { return __umulhi(eight, inverse); }
  __device__ int row_bytes() const { return own * 16 + APART; }
  __device__ Eight& at(int row, int eight) const { return *(Eight*)(bytes + row * row_bytes() + eight * 16); }
};

// Each eight of x by make(eights), of the row's parts; AT_ONCE are loaded at once.
template <int AT_ONCE, int PARTS, class Make>
__device__ __forceinline__ void each_eight(const X& x, const bf16* input, int rows, int inputs, Make make) {
  const int all = rows * x.own;
  for (int start = threadIdx.x; start < all; start += AT_ONCE * THREADS) {
    Eight loaded[AT_ONCE][PARTS];
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const int i = start + u * THREADS, row = x.row(i), column = (i - row * x.own) * 8;
#pragma unroll
      for (int part = 0; part < PARTS; ++part) {
        loaded[u][part] = {};
        if (i < all && column < inputs) loaded[u][part] = *(const Eight*)(input + ((long)row * PARTS + part) * inputs + column);
      }
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const int i = start + u * THREADS, row = x.row(i);
      if (i < all) x.at(row, i - row * x.own) = make(loaded[u]);
    }
  }
}

#ifdef NORMED
// The norm's weight, which depends on nothing earlier: of the thread's columns. (As __restrict__ it would be loaded later.)
struct Rows {
  Eight weights[NORMED];
  __device__ Rows(const bf16* norm, int inputs) {
#pragma unroll
    for (int u = 0; u < NORMED; ++u) {
      const int column = (threadIdx.x + u * THREADS) * 8;
      weights[u] = column < inputs ? *(const Eight*)(norm + column) : Eight{};
    }
  }
  __device__ __forceinline__ void find(const X& x, const bf16* input, int rows, int inputs, float epsilon) const {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    constexpr int SUMS = NORMED * THREADS / 32;  // of a row
    static_assert(SUMS <= 32, "rows of at most 8192 numbers");
    // Until x is there, its rows begin with their warps' sums.
    auto sums = [&](int row) { return (float*)&x.at(row, 0); };
    auto loaded = [&](int row, int u) {
      const int column = (threadIdx.x + u * THREADS) * 8;
      return column < inputs ? *(const Eight*)(input + (long)row * inputs + column) : Eight{};
    };
#pragma unroll 2
    for (int row = 0; row < rows; ++row)
#pragma unroll
      for (int u = 0; u < NORMED; ++u) {
        float values[8];
        unpack(loaded(row, u), values);
        const float sum = sum_of_warp(with_squares(0, values));
        if (lane == 0) sums(row)[u * THREADS / 32 + warp] = sum;
      }
    __syncthreads();
    float own = 0;  // of row `lane`: what its numbers are multiplied by
    for (int row = 0; row < rows; ++row) {
      const float sum = sum_of_warp(lane < SUMS ? sums(row)[lane] : 0);
      if (lane == row) own = inverse_of_norm(sum, inputs, epsilon);
    }
    __syncthreads();
#pragma unroll 2
    for (int row = 0; row < rows; ++row) {
      const float inverse = __shfl_sync(0xffffffffu, own, row);
#pragma unroll
      for (int u = 0; u < NORMED; ++u) {
        float values[8], weight[8];
        unpack(loaded(row, u), values);
        unpack(weights[u], weight);
#pragma unroll
        for (int k = 0; k < 8; ++k) values[k] = normed(values[k], inverse, weight[k]);
        const int eight = threadIdx.x + u * THREADS;
        if (eight < x.own) x.at(row, eight) = pack(values);
      }
    }
  }
};
#else
struct Rows {
  __device__ Rows(const bf16*, int) {}
  __device__ __forceinline__ void find(const X& x, const bf16* input, int rows, int inputs, float) const {
#ifdef GATED
    each_eight<4, 2>(x, input, rows, inputs, [](const Eight (&both)[2]) {
      float gate[8], up[8];
      unpack(both[0], gate);
      unpack(both[1], up);
      silu_times(gate, up);
      return pack(gate);
    });
#else
    each_eight<8, 1>(x, input, rows, inputs, [](const Eight (&own)[1]) { return own[0]; });
#endif
  }
};
#endif
)cuda"
