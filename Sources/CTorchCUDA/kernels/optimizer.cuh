R"cuda(
// What is stepped and what is kept beside it, fp32 or bf16, a number or four at a time.
__device__ __forceinline__ float wide(float value) { return value; }
__device__ __forceinline__ void put(float* place, float value) { *place = value; }
__device__ __forceinline__ void put(bf16* place, float value) { *place = narrow(value); }
__device__ __forceinline__ void load(const float* from, float* values) { *(float4*)values = *(const float4*)from; }
__device__ __forceinline__ void load(const bf16* from, float* values) { unpack(*(const uint2*)from, values); }
__device__ __forceinline__ void store(float* to, const float* values) { *(float4*)to = *(const float4*)values; }
__device__ __forceinline__ void store(bf16* to, const float* values) {
  *(uint2*)to = {pack(values[0], values[1]), pack(values[2], values[3])};
}
__device__ __forceinline__ uint32 bits(float value) { return __float_as_uint(value); }
// The number whose bits are so many above another's.
__device__ __forceinline__ float above(float value, short count) { return __uint_as_float(bits(value) + (int)count); }
template <class Number>
__device__ __forceinline__ bool has_fours(const Number* start) { return (unsigned long)start % (4 * sizeof(Number)) == 0; }

// One step of AdamW on fp32 numbers, with the arithmetic of libtorch's fused kernel; the gradient counts `gradient_scale`
// times. Moments and gradients have the types FIRST, SECOND and GRADIENT. What was stepped is written in bf16 too, unless
// `low` is NULL.
//
// With REMAINDERS weights are bf16, and what the bits of fp32 are above theirs stands in `remainders`; the nearest bf16 is
// kept, of two the one further from zero.
#if defined FIRST && defined SECOND && defined GRADIENT
#ifdef REMAINDERS
typedef bf16 Weight;
#else
typedef float Weight;
#endif
extern "C" __global__ void adamw(
    Weight* __restrict__ weights, short* __restrict__ remainders, FIRST* __restrict__ first, SECOND* __restrict__ second,
    const GRADIENT* __restrict__ gradients, bf16* __restrict__ low, long count, const float* __restrict__ step, double rate,
    double beta1, double beta2, double epsilon, double decay, double gradient_scale) {
  __shared__ double corrections[2];
  if (threadIdx.x == 0) {
    corrections[0] = 1 - pow(beta1, (double)*step);
    corrections[1] = sqrt(1 - pow(beta2, (double)*step));
  }
  __syncthreads();
  const float kept = 1 - rate * decay, scale = gradient_scale, b1 = beta1, b2 = beta2, eps = epsilon;
  const float size = rate / corrections[0], root = corrections[1];
  const bool in_fours = has_fours(weights) && has_fours(remainders) && has_fours(first) && has_fours(second)
      && has_fours(gradients) && has_fours(low);
  for (long i = blockIdx.x * (long)blockDim.x + threadIdx.x; i < (count + 3) / 4; i += (long)gridDim.x * blockDim.x) {
    const long start = i * 4;
    const int length = count - start < 4 ? count - start : 4;
    const bool is_four = in_fours && length == 4;
    float w[4], m[4], v[4], g[4];
    if (is_four) {
      load(weights + start, w);
      load(first + start, m);
      load(second + start, v);
      load(gradients + start, g);
    } else {
      for (int k = 0; k < length; ++k) {
        w[k] = wide(weights[start + k]); m[k] = wide(first[start + k]); v[k] = wide(second[start + k]);
        g[k] = wide(gradients[start + k]);
      }
    }
#ifdef REMAINDERS
    if (is_four) {
      const short4 left = *(const short4*)(remainders + start);
      w[0] = above(w[0], left.x); w[1] = above(w[1], left.y); w[2] = above(w[2], left.z); w[3] = above(w[3], left.w);
    } else {
      for (int k = 0; k < length; ++k) w[k] = above(w[k], remainders[start + k]);
    }
#endif
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      // The compiler would put products and sums together differently for each type.
      const float by = __fmul_rn(g[k], scale);
      m[k] = __fmaf_rn(1 - b1, by - m[k], m[k]);
      v[k] = __fmaf_rn(b2, v[k], __fmul_rn(__fmul_rn(1 - b2, by), by));
      const float change = __fdiv_rn(__fmul_rn(size, m[k]), __fadd_rn(__fdiv_rn(__fsqrt_rn(v[k]), root), eps));
      w[k] = __fsub_rn(__fmul_rn(w[k], kept), change);
    }
#ifdef REMAINDERS
    if (is_four) {
      *(short4*)(remainders + start) = make_short4(bits(w[0]), bits(w[1]), bits(w[2]), bits(w[3]));
    } else {
      for (int k = 0; k < length; ++k) remainders[start + k] = bits(w[k]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) w[k] = __uint_as_float((bits(w[k]) + 0x8000u) & 0xffff0000u);
#endif
    if (is_four) {
      store(weights + start, w);
      store(first + start, m);
      store(second + start, v);
      if (low) store(low + start, w);
    } else {
      for (int k = 0; k < length; ++k) {
        put(weights + start + k, w[k]); put(first + start + k, m[k]); put(second + start + k, v[k]);
        if (low) put(low + start + k, w[k]);
      }
    }
  }
}
#endif
)cuda"
