R"cuda(
// What a product of ROWS rows multiplies, found by each block for itself, so that no other kernel has to:
//   NORMED: the root-mean-square norm of the input's rows.
//   GATED: silu(gate) * up of rows [gate | up].
//   else the input's rows.
// `x`: in shared memory; `pieces`: eights of a row.
template <int WARPS>
__device__ __forceinline__ void find_x(
    Eight* x, const bf16* __restrict__ input, const bf16* __restrict__ norm, float epsilon, int pieces) {
#ifdef NORMED
  __shared__ float shared_squares[ROWS][WARPS];
  float squares[ROWS] = {};
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
    for (int i = threadIdx.x; i < pieces; i += blockDim.x) {
      float values[8];
      unpack(x[r * pieces + i] = ((const Eight*)input)[r * pieces + i], values);
#pragma unroll
      for (int k = 0; k < 8; ++k) squares[r] += values[k] * values[k];
    }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    squares[r] = sum_of_warp(squares[r]);
    if (threadIdx.x % 32 == 0) shared_squares[r][threadIdx.x / 32] = squares[r];
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) sum += shared_squares[r][w];
    const float inverse = rsqrtf(sum / (pieces * 8) + epsilon);
    for (int i = threadIdx.x; i < pieces; i += blockDim.x) {
      float values[8], weights[8];
      unpack(x[r * pieces + i], values);
      unpack(((const Eight*)norm)[i], weights);
#pragma unroll
      for (int k = 0; k < 8; ++k) values[k] = weights[k] * (values[k] * inverse);
      x[r * pieces + i] = pack(values);
    }
  }
#elif defined(GATED)
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
    for (int i = threadIdx.x; i < pieces; i += blockDim.x) {
      float gate[8], up[8];
      unpack(((const Eight*)input)[2 * r * pieces + i], gate);
      unpack(((const Eight*)input)[(2 * r + 1) * pieces + i], up);
#pragma unroll
      for (int k = 0; k < 8; ++k) gate[k] = silu_times(gate[k], up[k]);
      x[r * pieces + i] = pack(gate);
    }
#else
  for (int i = threadIdx.x; i < ROWS * pieces; i += blockDim.x) x[i] = ((const Eight*)input)[i];
#endif
}
)cuda"
