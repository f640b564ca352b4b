R"cuda(
// bf16 as the bits that it is, so that no header is needed.
typedef unsigned short bf16;
typedef unsigned int uint32;
typedef unsigned long long uint64;

__device__ __forceinline__ float wide(bf16 value) { return __uint_as_float((uint32)value << 16); }
__device__ __forceinline__ bf16 narrow(float value) {
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
}
__device__ __forceinline__ float rounded(float value) { return wide(narrow(value)); }

// Eight of them, one load.
struct __align__(16) Eight { uint32 words[4]; };
__device__ __forceinline__ void unpack(Eight packed, float* values) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values[2 * i] = __uint_as_float(packed.words[i] << 16);
    values[2 * i + 1] = __uint_as_float(packed.words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void unpack(uint2 packed, float* values) {
  values[0] = __uint_as_float(packed.x << 16);
  values[1] = __uint_as_float(packed.x & 0xffff0000u);
  values[2] = __uint_as_float(packed.y << 16);
  values[3] = __uint_as_float(packed.y & 0xffff0000u);
}
__device__ __forceinline__ uint32 pack(float low, float high) {
  uint32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ __forceinline__ Eight pack(const float* values) {
  Eight packed;
#pragma unroll
  for (int i = 0; i < 4; ++i) packed.words[i] = pack(values[2 * i], values[2 * i + 1]);
  return packed;
}
__device__ __forceinline__ float sum_of_warp(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}
// Root-mean-square norms of rows sum in one order wherever they are computed: eight numbers that follow one another, of which a
// thread has at most one in rows of up to 8192, then threads of a warp, then warps. A compiler isn't free to choose.
__device__ __forceinline__ float with_squares(float sum, const float (&values)[8]) {
#pragma unroll
  for (int k = 0; k < 8; ++k) sum = __fmaf_rn(values[k], values[k], sum);
  return sum;
}
__device__ __forceinline__ float inverse_of_norm(float squares, int width, float epsilon) {
  return rsqrtf(__fadd_rn(__fdiv_rn(squares, width), epsilon));
}
__device__ __forceinline__ float normed(float value, float inverse, float weight) { return weight * (value * inverse); }

// silu(gate) * up, each product rounded as libtorch's operators do.
__device__ __forceinline__ float silu_times(float gate, float up) { return rounded(gate / (1 + expf(-gate))) * up; }
// Of eight numbers, the same bits. A division asks whether its operands are far from 1, and one number's waits for another's
// answer; here all eight are asked at once, and divided as a division does it where they are not.
__device__ __forceinline__ void silu_times(float (&gate)[8], const float (&up)[8]) {
  constexpr float SMALL = 1.0f / (1ull << 60), LARGE = 1ull << 60;
  float divisors[8];
  bool is_usual = true;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    divisors[k] = 1 + expf(-gate[k]);
    is_usual &= divisors[k] < LARGE && fabsf(gate[k]) > SMALL && fabsf(gate[k]) < LARGE;
  }
  if (!is_usual) {
#pragma unroll
    for (int k = 0; k < 8; ++k) gate[k] = silu_times(gate[k], up[k]);
    return;
  }
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(divisors[k]));
    inverse = __fmaf_rn(inverse, __fmaf_rn(-divisors[k], inverse, 1), inverse);
    const float quotient = __fmul_rn(gate[k], inverse);
    gate[k] = rounded(__fmaf_rn(inverse, __fmaf_rn(-divisors[k], quotient, gate[k]), quotient)) * up[k];
  }
}

// As instructions on shared memory take it.
__device__ __forceinline__ uint32 shared_address(const void* pointer) { return (uint32)__cvta_generic_to_shared(pointer); }

#ifdef HEAD
// What a lane holds of a head: HEAD / 32 numbers that follow one another, one load where that is a power of two.
constexpr int OWN = HEAD / 32;
struct __align__(2 * (OWN & -OWN)) Own { bf16 numbers[OWN]; };
__device__ __forceinline__ Own own(const bf16* head) { return *(const Own*)(head + threadIdx.x % 32 * OWN); }

// Dimension d of the first half of those that are rotated pairs with d + half, where `half` is a multiple of OWN: the lane
// that has the pairs' other numbers; past them its own.
__device__ __forceinline__ int partner_lane(int half) {
  const int lane = threadIdx.x % 32;
  return lane * OWN < half ? lane + half / OWN : lane * OWN < 2 * half ? lane - half / OWN : lane;
}

// What a number is multiplied with, and what it is multiplied with for its partner: x cos - other sin in the first half,
// x cos + other sin in the second.
struct Turn {
  Own cosine, sine;

  __device__ __forceinline__ void fetch(const bf16* cosines, const bf16* sines, long token, int rotated) {
    if (threadIdx.x % 32 * OWN >= rotated) return;
    cosine = own(cosines + token * rotated);
    sine = own(sines + token * rotated);
  }
  __device__ __forceinline__ void unpack(int rotated, float (&cosines)[OWN], float (&sines)[OWN]) const {
    const int first = threadIdx.x % 32 * OWN;
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
      const float s = wide(sine.numbers[k]);
      cosines[k] = first < rotated ? wide(cosine.numbers[k]) : 1;
      sines[k] = first >= rotated ? 0 : first < rotated / 2 ? -s : s;
    }
  }
};

// A lane's part of the weights of queries' and of keys' norms; 1 where there are none.
struct HeadWeights {
  float query[OWN], key[OWN];

  __device__ __forceinline__ HeadWeights(const bf16* of_query, const bf16* of_key) {
    const int first = threadIdx.x % 32 * OWN;
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
      query[k] = of_query ? wide(of_query[first + k]) : 1;
      key[k] = of_key ? wide(of_key[first + k]) : 1;
    }
  }
};

// Warps take the heads of tokens in turn, AT_ONCE of a token at a time: `use` is given a part and its token and first head, while
// `fetch` asks for the next part.
template <int AT_ONCE, class Part, class Fetch, class Use>
__device__ __forceinline__ void take_heads(int tokens, int heads, Fetch fetch, Use use) {
  const int parts = (heads + AT_ONCE - 1) / AT_ONCE, count = tokens * parts, warps = blockDim.x / 32, step = gridDim.x * warps;
  auto token = [&](int index) { return (long)(index / parts); };
  auto head = [&](int index) { return (int)(index - token(index) * parts) * AT_ONCE; };
  auto fetch_at = [&](int index, Part& part) {
    if (index < count) fetch(part, token(index), head(index));
  };
  Part part, next;
  int index = blockIdx.x * warps + threadIdx.x / 32;
  for (fetch_at(index, part); index < count; index += step, part = next) {
    fetch_at(index + step, next);
    use(part, token(index), head(index));
  }
}

// One head, normed or not, and turned: each lane its own numbers.
__device__ __forceinline__ Own norm_and_turn(
    Own head, bool is_normed, const float (&weights)[OWN], float epsilon, const float (&cosines)[OWN],
    const float (&sines)[OWN], int rotated) {
  const int partner = partner_lane(rotated / 2);
  float values[OWN], squares = 0;
#pragma unroll
  for (int k = 0; k < OWN; ++k) {
    values[k] = wide(head.numbers[k]);
    squares += values[k] * values[k];
  }
  if (is_normed) {
    const float inverse = rsqrtf(sum_of_warp(squares) / HEAD + epsilon);
#pragma unroll
    for (int k = 0; k < OWN; ++k) values[k] = rounded(values[k] * inverse * weights[k]);
  }
#pragma unroll
  for (int k = 0; k < OWN; ++k) {
    const float other = __shfl_sync(0xffffffffu, values[k], partner);
    const bool is_turned = threadIdx.x % 32 * OWN < rotated;
    head.numbers[k] = narrow(is_turned ? rounded(values[k] * cosines[k]) + rounded(other * sines[k]) : values[k]);
  }
  return head;
}

// A block writes the key and value of a context's last token to their page, before it reads them: for one head.
__device__ __forceinline__ void write_last(
    const bf16* key, const bf16* value, bf16* keys, bf16* values, const int* table, int length, int page_size, int head,
    int heads) {
  const int last = length - 1, i = threadIdx.x % (HEAD / 8) * 8;
  const long target = (((long)table[last / page_size] * page_size + last % page_size) * heads + head) * HEAD + i;
  if (threadIdx.x < HEAD / 8) *(Eight*)(keys + target) = *(const Eight*)(key + head * HEAD + i);
  else if (threadIdx.x < HEAD / 4) *(Eight*)(values + target) = *(const Eight*)(value + head * HEAD + i);
  __syncthreads();
}
#endif

// Kernels of a decoding step are queued one after another, each waiting for the last; so that its blocks are there, and what
// depends on nothing earlier is on its way, before that ends, each lets the next begin and waits by itself (programmatic
// dependent launch; without effect where a kernel is launched otherwise).
#if __CUDA_ARCH__ >= 900
__device__ __forceinline__ void let_next_begin() { asm volatile("griddepcontrol.launch_dependents;"); }
__device__ __forceinline__ void wait_for_earlier() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
__device__ __forceinline__ void let_next_begin() {}
__device__ __forceinline__ void wait_for_earlier() {}
#endif
#define NOTHING (-__int_as_float(0x7f800000))
)cuda"
