R"cuda(
// output = x weightᵀ (+ bias) (+ residual) for ROWS rows, as few as a batch that decodes has: bound by the weight's bytes. A
// warp makes outputs one after another, with the loads for what comes next in flight; x lies in shared memory. What x is, a
// block finds for itself (few_rows.cuh). Each number is rounded where libtorch's operators do.
// AHEAD: loads of 16 bytes that each lane has in flight.
constexpr int PIECES = AHEAD * 32;     // of eight numbers that a warp multiplies at once
constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(WARPS * 32) few_rows_linear(
    const bf16* __restrict__ input, const bf16* __restrict__ norm, float epsilon, const bf16* __restrict__ weight,
    const bf16* __restrict__ bias, const bf16* __restrict__ residual, bf16* __restrict__ output, int inputs, int outputs) {
  let_next_begin();
  extern __shared__ Eight x[];
  const int pieces = inputs / 8, lane = threadIdx.x % 32, step = gridDim.x * WARPS;
  auto fetch = [&](Eight (&loaded)[AHEAD], int column, int start) {
    const uint4* own = (const uint4*)(weight + (long)column * inputs);
#pragma unroll
    for (int u = 0; u < AHEAD; ++u) {
      const int piece = start + lane + 32 * u;
      uint4 words = {0, 0, 0, 0};
      if (column < outputs && piece < pieces) words = __ldcs(own + piece);
      loaded[u] = {{words.x, words.y, words.z, words.w}};
    }
  };
  int column = blockIdx.x * WARPS + threadIdx.x / 32;
  Eight next[AHEAD];
  fetch(next, column, 0);  // weights depend on nothing earlier
  wait_for_earlier();
  find_x<WARPS>(x, input, norm, epsilon, pieces);
  __syncthreads();
  for (; column < outputs; column += step) {
    float sums[ROWS] = {};
    for (int start = 0; start < pieces; start += PIECES) {
      Eight now[AHEAD];
#pragma unroll
      for (int u = 0; u < AHEAD; ++u) now[u] = next[u];
      const bool is_last = start + PIECES >= pieces;
      fetch(next, is_last ? column + step : column, is_last ? 0 : start + PIECES);
#pragma unroll
      for (int u = 0; u < AHEAD; ++u) {
        const int piece = min(start + lane + 32 * u, pieces - 1);
        float w[8];
        unpack(now[u], w);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          float own[8];
          unpack(x[r * pieces + piece], own);
#pragma unroll
          for (int k = 0; k < 8; ++k) sums[r] += w[k] * own[k];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      float sum = sum_of_warp(sums[r]) + (bias ? wide(bias[column]) : 0);
      const long place = (long)r * outputs + column;
      if (residual) sum = rounded(sum) + wide(residual[place]);
      if (lane == 0) output[place] = narrow(sum);
    }
  }
}
)cuda"
