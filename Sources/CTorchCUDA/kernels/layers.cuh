R"cuda(
// Copies new keys and values to their slots; a block a token, rows of `width` numbers.
extern "C" __global__ void write_pages(
    const bf16* __restrict__ key, long key_stride, const bf16* __restrict__ value, long value_stride,
    bf16* __restrict__ keys, bf16* __restrict__ values, const long* __restrict__ slots, int width) {
  let_next_begin();
  wait_for_earlier();
  const long token = blockIdx.x, slot = slots[token];
  for (int i = threadIdx.x * 8; i < width; i += blockDim.x * 8) {
    *(Eight*)(keys + slot * width + i) = *(const Eight*)(key + token * key_stride + i);
    *(Eight*)(values + slot * width + i) = *(const Eight*)(value + token * value_stride + i);
  }
}

// Copies words; what the host wrote is not looked for in a cache.
extern "C" __global__ void transfer(const uint32* __restrict__ source, uint32* __restrict__ target, int count) {
  let_next_begin();
  wait_for_earlier();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) target[i] = __ldcv(source + i);
}

// Rows of the embedding, and cosines and sines of the angles of their positions, times a magnitude; a block a token. Each number is
// rounded where libtorch's operators do.
extern "C" __global__ void embed(
    const long* __restrict__ tokens, const bf16* __restrict__ weight, int width, const long* __restrict__ positions,
    const float* __restrict__ frequencies, int half, float magnitude, bf16* __restrict__ hidden, bf16* __restrict__ cosine,
    bf16* __restrict__ sine) {
  wait_for_earlier();
  const long token = blockIdx.x, row = tokens[token];
  for (int i = threadIdx.x * 8; i < width; i += blockDim.x * 8)
    *(Eight*)(hidden + token * width + i) = *(const Eight*)(weight + row * width + i);
  const float position = (float)positions[token];
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    const float angle = position * frequencies[i];
    const long first = token * 2 * half + i, second = first + half;
    cosine[first] = cosine[second] = narrow(cosf(angle) * magnitude);
    sine[first] = sine[second] = narrow(sinf(angle) * magnitude);
  }
}

// silu(gate) * up of rows [gate | up].
extern "C" __global__ void silu_multiply(const bf16* __restrict__ both, bf16* __restrict__ output, int width, long count) {
  let_next_begin();
  wait_for_earlier();
  for (long i = (blockIdx.x * (long)blockDim.x + threadIdx.x) * 8; i < count; i += (long)gridDim.x * blockDim.x * 8) {
    const long row = i / width, column = i % width;
    float gate[8], up[8];
    unpack(*(const Eight*)(both + row * 2 * width + column), gate);
    unpack(*(const Eight*)(both + row * 2 * width + width + column), up);
    silu_times(gate, up);
    *(Eight*)(output + i) = pack(gate);
  }
}

// sum = input + delta, then its root-mean-square norm; a block a row.
extern "C" __global__ void add_norm(
    const bf16* __restrict__ input, const bf16* __restrict__ delta, const bf16* __restrict__ weight, float epsilon,
    bf16* __restrict__ sum, bf16* __restrict__ output, int width) {
  let_next_begin();
  wait_for_earlier();
  extern __shared__ float row[];
  __shared__ float squares[32];
  const long start = (long)blockIdx.x * width;
  float own = 0;
  for (int i = threadIdx.x * 8; i < width; i += blockDim.x * 8) {
    float a[8], b[8];
    unpack(*(const Eight*)(input + start + i), a);
    if (delta) {
      unpack(*(const Eight*)(delta + start + i), b);
#pragma unroll
      for (int k = 0; k < 8; ++k) a[k] = rounded(a[k] + b[k]);
      *(Eight*)(sum + start + i) = pack(a);
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) row[i + k] = a[k];
    own = with_squares(own, a);
  }
  own = sum_of_warp(own);
  if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = own;
  __syncthreads();
  if (threadIdx.x < 32) {
    own = sum_of_warp(threadIdx.x < blockDim.x / 32 ? squares[threadIdx.x] : 0);
    if (threadIdx.x == 0) squares[0] = inverse_of_norm(own, width, epsilon);
  }
  __syncthreads();
  const float inverse = squares[0];
  for (int i = threadIdx.x * 8; i < width; i += blockDim.x * 8) {
    float w[8];
    unpack(*(const Eight*)(weight + i), w);
#pragma unroll
    for (int k = 0; k < 8; ++k) w[k] = normed(row[i + k], inverse, w[k]);
    *(Eight*)(output + start + i) = pack(w);
  }
}

// Head norms (where there are weights) and rotation of queries and keys: a warp takes HEADS_AT_ONCE heads of a token, with its next ones
// on their way. The rotated dimensions are the first `rotated` ones, in two halves.
#ifdef HEADS_AT_ONCE
extern "C" __global__ void __launch_bounds__(256) norm_rotate(
    const bf16* __restrict__ query, long query_stride, int query_heads, const bf16* __restrict__ key, long key_stride,
    int key_heads, const bf16* __restrict__ query_weight, const bf16* __restrict__ key_weight, float epsilon,
    const bf16* __restrict__ cosine, const bf16* __restrict__ sine, int rotated, bf16* __restrict__ new_query,
    bf16* __restrict__ new_key, int tokens) {
  let_next_begin();
  const int first = threadIdx.x % 32 * OWN, heads = query_heads + key_heads;
  const HeadWeights weights(query_weight, key_weight);
  struct Part {
    Own heads[HEADS_AT_ONCE];
    Turn turn;
  };
  auto fetch = [&](Part& part, long token, int begin) {
#pragma unroll
    for (int u = 0; u < HEADS_AT_ONCE; ++u) {
      const int head = begin + u, after = head - query_heads;
      if (head >= heads) continue;
      part.heads[u] = own(after < 0 ? query + token * query_stride + head * HEAD : key + token * key_stride + after * HEAD);
    }
    part.turn.fetch(cosine, sine, token, rotated);
  };
  wait_for_earlier();
  take_heads<HEADS_AT_ONCE, Part>(tokens, heads, fetch, [&](const Part& part, long token, int begin) {
    float cosines[OWN], sines[OWN];
    part.turn.unpack(rotated, cosines, sines);
#pragma unroll
    for (int u = 0; u < HEADS_AT_ONCE; ++u) {
      const int head = begin + u, after = head - query_heads;
      if (head >= heads) continue;
      const bool is_query = after < 0;
      float own_weights[OWN];
#pragma unroll
      for (int k = 0; k < OWN; ++k) own_weights[k] = is_query ? weights.query[k] : weights.key[k];
      bf16* target = is_query ? new_query + (token * query_heads + head) * HEAD : new_key + (token * key_heads + after) * HEAD;
      *(Own*)(target + first) = norm_and_turn(
          part.heads[u], is_query ? query_weight : key_weight, own_weights, epsilon, cosines, sines, rotated);
    }
  });
}
#endif
)cuda"
