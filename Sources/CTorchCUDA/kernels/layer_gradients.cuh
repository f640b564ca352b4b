R"cuda(
// Sums two numbers over the threads of a block, for all of them.
__device__ __forceinline__ float2 sums_of_block(float first, float second) {
  __shared__ float2 parts[32];
  first = sum_of_warp(first);
  second = sum_of_warp(second);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = make_float2(first, second);
  __syncthreads();
  float2 sums = make_float2(0, 0);
  for (int i = 0; i < blockDim.x / 32; ++i) {
    sums.x += parts[i].x;
    sums.y += parts[i].y;
  }
  return sums;
}

// Of silu_multiply, by [gate | up].
extern "C" __global__ void silu_multiply_gradient(
    const bf16* __restrict__ both, const bf16* __restrict__ gradient, bf16* __restrict__ result, int width, long count) {
  for (long i = (blockIdx.x * (long)blockDim.x + threadIdx.x) * 8; i < count; i += (long)gridDim.x * blockDim.x * 8) {
    const long start = i / width * 2 * width + i % width;
    float gate[8], up[8], by[8];
    unpack(*(const Eight*)(both + start), gate);
    unpack(*(const Eight*)(both + start + width), up);
    unpack(*(const Eight*)(gradient + i), by);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float share = 1 / (1 + expf(-gate[k])), by_silu = rounded(by[k] * up[k]);
      up[k] = by[k] * rounded(gate[k] * share);
      gate[k] = by_silu * share * (1 + gate[k] * (1 - share));
    }
    *(Eight*)(result + start) = pack(gate);
    *(Eight*)(result + start + width) = pack(up);
  }
}

// Of add_norm, by the sum: `by_sum` (or NULL) and what comes through the norm. A block takes rows in turn; what each says of
// the weight stands in a row of `by_weight`. A thread has PIECES pieces of eight numbers of a row.
#ifdef PIECES
extern "C" __global__ void add_norm_gradient(
    const bf16* __restrict__ sum, const bf16* __restrict__ weight, const bf16* __restrict__ by_normed,
    const bf16* __restrict__ by_sum, float epsilon, bf16* __restrict__ result, float* __restrict__ by_weight, int width,
    int rows) {
  float totals[PIECES][8] = {};
  for (int row = blockIdx.x; row < rows; row += gridDim.x) {
    const long start = (long)row * width;
    float x[PIECES][8], g[PIECES][8];
    float squares = 0, product = 0;
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
      const int i = (threadIdx.x + p * blockDim.x) * 8;
      if (i >= width) continue;
      float w[8];
      unpack(*(const Eight*)(sum + start + i), x[p]);
      unpack(*(const Eight*)(by_normed + start + i), g[p]);
      unpack(*(const Eight*)(weight + i), w);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        squares += x[p][k] * x[p][k];
        product += g[p][k] * w[k] * x[p][k];
      }
    }
    const float2 sums = sums_of_block(squares, product);
    const float inverse = rsqrtf(sums.x / width + epsilon), pull = inverse * inverse * inverse * sums.y / width;
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
      const int i = (threadIdx.x + p * blockDim.x) * 8;
      if (i >= width) continue;
      float w[8], other[8] = {};
      unpack(*(const Eight*)(weight + i), w);
      if (by_sum) unpack(*(const Eight*)(by_sum + start + i), other);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        totals[p][k] += g[p][k] * x[p][k] * inverse;
        other[k] += g[p][k] * w[k] * inverse - x[p][k] * pull;
      }
      *(Eight*)(result + start + i) = pack(other);
    }
  }
#pragma unroll
  for (int p = 0; p < PIECES; ++p) {
    const int i = (threadIdx.x + p * blockDim.x) * 8;
    if (i >= width) continue;
#pragma unroll
    for (int k = 0; k < 8; ++k) by_weight[(long)blockIdx.x * width + i + k] = totals[p][k];
  }
}
#endif

// Of norm_rotate: a warp a head. What each block says of the two weights stands in [2, HEAD] numbers of `by_weights`, NULL
// where there are no norms.
#ifdef HEAD
extern "C" __global__ void norm_rotate_gradient(
    const bf16* __restrict__ query, long query_stride, int query_heads, const bf16* __restrict__ key, long key_stride,
    int key_heads, const bf16* __restrict__ query_weight, const bf16* __restrict__ key_weight, float epsilon,
    const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated, const bf16* __restrict__ by_query,
    const bf16* __restrict__ by_key, bf16* __restrict__ new_query, bf16* __restrict__ new_key,
    float* __restrict__ by_weights, int tokens) {
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32, warp = threadIdx.x / 32, half = rotated / 2;
  __shared__ float shared[8][HEAD];
  float* head = shared[warp];
  float totals[2][HEAD / 32] = {};
  for (long token = blockIdx.x; token < tokens; token += gridDim.x) {
    for (int h = warp; h < query_heads + key_heads; h += warps) {
      const bool is_query = h < query_heads;
      const int index = is_query ? h : h - query_heads;
      const bf16* source = is_query ? query + token * query_stride + index * HEAD : key + token * key_stride + index * HEAD;
      const long place = is_query ? (token * query_heads + index) * HEAD : (token * key_heads + index) * HEAD;
      const bf16* gradient = (is_query ? by_query : by_key) + place;
      const bf16* weight = is_query ? query_weight : key_weight;
      bf16* target = (is_query ? new_query : new_key) + place;
#pragma unroll
      for (int k = 0; k < HEAD / 32; ++k) head[lane + 32 * k] = wide(gradient[lane + 32 * k]);
      __syncwarp();
      float g[HEAD / 32], x[HEAD / 32];
      float squares = 0, product = 0;
#pragma unroll
      for (int k = 0; k < HEAD / 32; ++k) {
        const int d = lane + 32 * k;
        g[k] = head[d];
        if (d < rotated) {
          const int other = d < half ? d + half : d - half;
          const float turned = head[other] * wide(sine[token * rotated + other]);
          g[k] = g[k] * wide(cosine[token * rotated + d]) + (d < half ? turned : -turned);
        }
        if (weight) {
          x[k] = wide(source[d]);
          squares += x[k] * x[k];
          product += g[k] * wide(weight[d]) * x[k];
        }
      }
      if (weight) {
        squares = sum_of_warp(squares);
        product = sum_of_warp(product);
        const float inverse = rsqrtf(squares / HEAD + epsilon), pull = inverse * inverse * inverse * product / HEAD;
#pragma unroll
        for (int k = 0; k < HEAD / 32; ++k) {
          const float said = g[k] * x[k] * inverse;
          totals[0][k] += is_query ? said : 0;
          totals[1][k] += is_query ? 0 : said;
          g[k] = g[k] * wide(weight[lane + 32 * k]) * inverse - x[k] * pull;
        }
      }
#pragma unroll
      for (int k = 0; k < HEAD / 32; ++k) target[lane + 32 * k] = narrow(g[k]);
      __syncwarp();
    }
  }
  if (!by_weights) return;
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    __syncthreads();
#pragma unroll
    for (int k = 0; k < HEAD / 32; ++k) head[lane + 32 * k] = totals[which][k];
    __syncthreads();
    for (int d = threadIdx.x; d < HEAD; d += blockDim.x) {
      float total = 0;
      for (int w = 0; w < warps; ++w) total += shared[w][d];
      by_weights[((long)blockIdx.x * 2 + which) * HEAD + d] = total;
    }
  }
}
#endif
)cuda"
