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

// Of silu_multiply, by [gate | up]; and what it gave, once more, unless `product` is NULL.
extern "C" __global__ void silu_multiply_gradient(
    const bf16* __restrict__ both, const bf16* __restrict__ gradient, bf16* __restrict__ result, bf16* __restrict__ product,
    uint32 eights, uint32 count) {
  for (uint32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    // Of `eights` in a row of gates.
    const long start = (i + (long)(i / eights) * eights) * 8, other = start + eights * 8;
    float gate[8], up[8], by[8], made[8];
    unpack(*(const Eight*)(both + start), gate);
    unpack(*(const Eight*)(both + other), up);
    unpack(*(const Eight*)(gradient + i * 8l), by);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      made[k] = silu_times(gate[k], up[k]);
      const float share = __fdividef(1, 1 + expf(-gate[k])), by_silu = rounded(by[k] * up[k]);
      up[k] = by[k] * rounded(gate[k] * share);
      gate[k] = by_silu * share * (1 + gate[k] * (1 - share));
    }
    *(Eight*)(result + start) = pack(gate);
    *(Eight*)(result + other) = pack(up);
    if (product) *(Eight*)(product + i * 8l) = pack(made);
  }
}

// Of add_norm, by the sum: `by_sum` (or NULL) and what comes through the norm; and what it gave, once more, unless `normed`
// is NULL. A block takes rows in turn; what each says of the weight stands in a row of `by_weight`. A thread has PIECES pieces
// of eight numbers of a row.
#ifdef PIECES
extern "C" __global__ void add_norm_gradient(
    const bf16* __restrict__ sum, const bf16* __restrict__ weight, const bf16* __restrict__ by_normed,
    const bf16* __restrict__ by_sum, float epsilon, bf16* __restrict__ result, bf16* __restrict__ normed,
    float* __restrict__ by_weight, int width, int rows) {
  float totals[PIECES][8] = {};
  for (int row = blockIdx.x; row < rows; row += gridDim.x) {
    const long start = (long)row * width;
    float x[PIECES][8], g[PIECES][8];
    Eight others[PIECES] = {};
    float squares = 0, product = 0;
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
      const int i = (threadIdx.x + p * blockDim.x) * 8;
      if (i >= width) continue;
      float w[8];
      // On its way while the sums are found.
      if (by_sum) others[p] = *(const Eight*)(by_sum + start + i);
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
    const float inverse = rsqrtf(sums.x / width + epsilon), pull = inverse * inverse * sums.y / width;
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
      const int i = (threadIdx.x + p * blockDim.x) * 8;
      if (i >= width) continue;
      float w[8], other[8];
      unpack(*(const Eight*)(weight + i), w);
      unpack(others[p], other);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        x[p][k] *= inverse;
        totals[p][k] += g[p][k] * x[p][k];
        other[k] += g[p][k] * w[k] * inverse - x[p][k] * pull;
        x[p][k] *= w[k];
      }
      *(Eight*)(result + start + i) = pack(other);
      if (normed) *(Eight*)(normed + start + i) = pack(x[p]);
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

// Of norm_rotate: a warp a head, HEAD / 32 numbers that follow one another a lane; values' gradients are copied beside the
// others, into rows of `stride` numbers. What each block says of the two weights stands in [2, HEAD] numbers of `by_weights`,
// NULL where there are no norms.
#ifdef HEAD
extern "C" __global__ void __launch_bounds__(256, HEAD <= 128 ? 3 : 2) norm_rotate_gradient(
    const bf16* __restrict__ query, const bf16* __restrict__ key, long stride, int query_heads, int key_heads,
    const bf16* __restrict__ query_weight, const bf16* __restrict__ key_weight, float epsilon, const bf16* __restrict__ cosine,
    const bf16* __restrict__ sine, int rotated, const bf16* __restrict__ by_query, const bf16* __restrict__ by_key,
    const bf16* __restrict__ by_value, bf16* __restrict__ new_query, bf16* __restrict__ new_key, bf16* __restrict__ new_value,
    float* __restrict__ by_weights, int tokens) {
  constexpr int AT_ONCE = 2;
  const int first = threadIdx.x % 32 * OWN, half = rotated / 2;
  const int normed_heads = query_heads + key_heads, heads = normed_heads + key_heads, partner = partner_lane(half);
  const HeadWeights weights(query_weight, key_weight);
  float totals[2][OWN] = {};
  struct Part {
    Own gradients[AT_ONCE], sources[AT_ONCE];
    Turn turn;
  };
  auto fetch = [&](Part& part, long token, int begin) {
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const int head = begin + u, after = head - query_heads, last = head - normed_heads;
      if (head >= heads) continue;
      part.gradients[u] = own(last >= 0 ? by_value + (token * key_heads + last) * HEAD
                              : after >= 0 ? by_key + (token * key_heads + after) * HEAD
                                           : by_query + (token * query_heads + head) * HEAD);
      if (last < 0 && (after >= 0 ? key_weight : query_weight))
        part.sources[u] = own((after >= 0 ? key + after * HEAD : query + head * HEAD) + token * stride);
    }
    part.turn.fetch(cosine, sine, token, rotated);
  };
  take_heads<AT_ONCE, Part>(tokens, heads, fetch, [&](const Part& part, long token, int begin) {
    float cosines[OWN], sines[OWN];
    part.turn.unpack(rotated, cosines, sines);
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const int head = begin + u, after = head - query_heads, last = head - normed_heads;
      if (head >= heads) continue;
      const long row = token * stride + first;
      if (last >= 0) {
        *(Own*)(new_value + row + last * HEAD) = part.gradients[u];
        continue;
      }
      const bool is_query = after < 0;
      float g[OWN];
#pragma unroll
      for (int k = 0; k < OWN; ++k) {
        g[k] = wide(part.gradients[u].numbers[k]);
        // What its partner took of it.
        const float taken = __shfl_sync(0xffffffffu, g[k] * sines[k], partner);
        g[k] = g[k] * cosines[k] + taken;
      }
      if (is_query ? query_weight : key_weight) {
        float x[OWN], squares = 0, product = 0;
#pragma unroll
        for (int k = 0; k < OWN; ++k) {
          x[k] = wide(part.sources[u].numbers[k]);
          squares += x[k] * x[k];
          product += g[k] * (is_query ? weights.query[k] : weights.key[k]) * x[k];
        }
        squares = sum_of_warp(squares);
        product = sum_of_warp(product);
        const float inverse = rsqrtf(squares / HEAD + epsilon), pull = inverse * inverse * product / HEAD;
#pragma unroll
        for (int k = 0; k < OWN; ++k) {
          x[k] *= inverse;
          const float said = g[k] * x[k];
          totals[0][k] += is_query ? said : 0;
          totals[1][k] += is_query ? 0 : said;
          g[k] = g[k] * (is_query ? weights.query[k] : weights.key[k]) * inverse - x[k] * pull;
        }
      }
      Own result;
#pragma unroll
      for (int k = 0; k < OWN; ++k) result.numbers[k] = narrow(g[k]);
      *(Own*)((is_query ? new_query + head * HEAD : new_key + after * HEAD) + row) = result;
    }
  });
  if (!by_weights) return;
  __shared__ float shared[8][HEAD];
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    __syncthreads();
#pragma unroll
    for (int k = 0; k < OWN; ++k) shared[threadIdx.x / 32][first + k] = totals[which][k];
    __syncthreads();
    for (int d = threadIdx.x; d < HEAD; d += blockDim.x) {
      float total = 0;
      for (int w = 0; w < blockDim.x / 32; ++w) total += shared[w][d];
      by_weights[((long)blockIdx.x * 2 + which) * HEAD + d] = total;
    }
  }
}
#endif
)cuda"
