R"cuda(
// Numbers of e4m3, with the arithmetic of libtorch's operators.
// The larger one; none is where either is none.
__device__ __forceinline__ float larger(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

__device__ __forceinline__ float largest_of_warp(float own) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) own = larger(own, __shfl_xor_sync(0xffffffffu, own, offset));
  return own;
}

__device__ __forceinline__ unsigned short two(float low, float high) {
  unsigned short result;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(result) : "f"(high), "f"(low));
  return result;
}

// The four numbers of e4m3 in a word, as halves, which hold them exactly.
struct Halves { uint32 low, high; };
__device__ __forceinline__ Halves halves(uint32 word) {
  Halves result;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, low; cvt.rn.f16x2.e4m3x2 %1, high; }"
      : "=r"(result.low), "=r"(result.high) : "r"(word));
  return result;
}

__device__ __forceinline__ float largest_of(const float* eight, float found) {
#pragma unroll
  for (int k = 0; k < 8; ++k) found = larger(found, fabsf(eight[k]));
  return found;
}

// What numbers are multiplied by, of which this is the largest: it becomes e4m3's largest. The scale is one over it.
__device__ __forceinline__ float factor_for(float largest) {
  return largest < 1e-30f ? 1 : __fmul_rn(__frcp_rn(largest), 448);
}

// Eight numbers times a factor.
__device__ __forceinline__ uint2 eight(const float* numbers, float factor) {
  uint32 pairs[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) pairs[k] = two(__fmul_rn(numbers[2 * k], factor), __fmul_rn(numbers[2 * k + 1], factor));
  return make_uint2(pairs[0] | pairs[1] << 16, pairs[2] | pairs[3] << 16);
}
)cuda"
