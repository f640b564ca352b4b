R"cuda(
// Four numbers of what is stepped and of what is kept beside it, fp32, bf16 or bits: one load where they lie so.
template <class Number> struct __align__(4 * sizeof(Number)) Four { Number numbers[4]; };
template <class Number>
__device__ __forceinline__ bool has_fours(const Number* start) { return (unsigned long)start % sizeof(Four<Number>) == 0; }
template <class Number>
__device__ __forceinline__ Four<Number> fetched(const Number* from, int length, bool in_fours) {
  if (in_fours && length == 4) return *(const Four<Number>*)from;
  Four<Number> four;
#pragma unroll
  for (int k = 0; k < 4; ++k) if (k < length) four.numbers[k] = from[k];
  return four;
}
template <class Number>
__device__ __forceinline__ void put(Number* to, const Four<Number>& four, int length, bool in_fours) {
  if (in_fours && length == 4) {
    *(Four<Number>*)to = four;
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) if (k < length) to[k] = four.numbers[k];
}
__device__ __forceinline__ float wide(float value) { return value; }
__device__ __forceinline__ void set(float& number, float value) { number = value; }
__device__ __forceinline__ void set(bf16& number, float value) { number = narrow(value); }
__device__ __forceinline__ uint32 bits(float value) { return __float_as_uint(value); }

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
extern "C" __global__ void __launch_bounds__(256, 3) adamw(
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
  // Two fours of each on their way at a time.
  constexpr int AT_ONCE = 2;
  const long stride = (long)gridDim.x * blockDim.x * 4;
  for (long i = (blockIdx.x * (long)blockDim.x + threadIdx.x) * 4; i < count; i += AT_ONCE * stride) {
    Four<Weight> ws[AT_ONCE];
    Four<FIRST> ms[AT_ONCE];
    Four<SECOND> vs[AT_ONCE];
    Four<GRADIENT> gs[AT_ONCE];
#ifdef REMAINDERS
    Four<short> lefts[AT_ONCE];
#endif
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long start = i + u * stride;
      const int length = count - start < 4 ? count - start : 4;
      if (length <= 0) continue;
      ws[u] = fetched(weights + start, length, in_fours);
      ms[u] = fetched(first + start, length, in_fours);
      vs[u] = fetched(second + start, length, in_fours);
      gs[u] = fetched(gradients + start, length, in_fours);
#ifdef REMAINDERS
      lefts[u] = fetched(remainders + start, length, in_fours);
#endif
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long start = i + u * stride;
      const int length = count - start < 4 ? count - start : 4;
      if (length <= 0) continue;
      Four<bf16> lows;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        float w = wide(ws[u].numbers[k]), m = wide(ms[u].numbers[k]), v = wide(vs[u].numbers[k]);
        const float by = wide(gs[u].numbers[k]) * scale;
#ifdef REMAINDERS
        // The number whose bits are so many above another's.
        w = __uint_as_float(bits(w) + (int)lefts[u].numbers[k]);
#endif
        w *= kept;
        m += (1 - b1) * (by - m);
        v = b2 * v + (1 - b2) * by * by;
        w -= size * m / (sqrtf(v) / root + eps);
#ifdef REMAINDERS
        lefts[u].numbers[k] = bits(w);
        w = __uint_as_float((bits(w) + 0x8000u) & 0xffff0000u);
#endif
        set(ws[u].numbers[k], w);
        set(ms[u].numbers[k], m);
        set(vs[u].numbers[k], v);
        set(lows.numbers[k], w);
      }
      put(weights + start, ws[u], length, in_fours);
      put(first + start, ms[u], length, in_fours);
      put(second + start, vs[u], length, in_fours);
#ifdef REMAINDERS
      put(remainders + start, lefts[u], length, in_fours);
#endif
      if (low) put(low + start, lows, length, in_fours);
    }
  }
}
#endif
)cuda"
