R"cuda(
// The largest z of a row so far, Σ e^(z - largest) and Σ e^(z - largest) (z - largest).
struct Row { float most, sum, weighted; };

__device__ __forceinline__ void raise_most(Row& row, float most) {
  if (most <= row.most) return;
  const float fall = row.most - most;
  if (row.sum > 0) {
    const float factor = expf(fall);
    row.weighted = factor * (row.weighted + fall * row.sum);
    row.sum *= factor;
  }
  row.most = most;
}

__device__ __forceinline__ void take(Row& row, float z) {
  const float below = z - row.most, part = __expf(below);
  row.sum += part;
  row.weighted += part * below;
}

__device__ __forceinline__ void merge(Row& row, Row other) {
  if (other.sum == 0) return;
  raise_most(row, other.most);
  raise_most(other, row.most);
  row.sum += other.sum;
  row.weighted += other.weighted;
}

__device__ __forceinline__ void merge_warp(Row& row) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    Row other;
    other.most = __shfl_xor_sync(0xffffffffu, row.most, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, row.sum, offset);
    other.weighted = __shfl_xor_sync(0xffffffffu, row.weighted, offset);
    merge(row, other);
  }
}

// Of each row of logits over the temperature, z: the largest, Σ e^(z - largest), Σ e^(z - largest) (z - largest), and the
// target's z (0 where it is not among the columns). A block a row; `results` is [4, rows].
extern "C" __global__ void row_statistics(
    const bf16* __restrict__ logits, int columns, const long* __restrict__ targets, float inverse_temperature,
    float* __restrict__ results, int rows) {
  const long row = blockIdx.x;
  const bf16* own = logits + row * columns;
  Row found = {NOTHING, 0, 0};
  // Rows of another length do not begin where sixteen bytes can be read.
  const int even = columns % 8 == 0 ? columns : 0;
  for (int i = threadIdx.x * 8; i < even; i += blockDim.x * 8) {
    float z[8];
    unpack(*(const Eight*)(own + i), z);
    float most = NOTHING;
#pragma unroll
    for (int k = 0; k < 8; ++k) most = fmaxf(most, z[k] *= inverse_temperature);
    raise_most(found, most);
#pragma unroll
    for (int k = 0; k < 8; ++k) take(found, z[k]);
  }
  for (int i = even + threadIdx.x; i < columns; i += blockDim.x) {
    const float z = wide(own[i]) * inverse_temperature;
    raise_most(found, z);
    take(found, z);
  }
  __shared__ Row parts[32];
  merge_warp(found);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = found;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  Row nothing = {NOTHING, 0, 0};
  found = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : nothing;
  merge_warp(found);
  if (threadIdx.x == 0) {
    const long target = targets[row];
    results[row] = found.most;
    results[rows + row] = found.sum;
    results[2 * rows + row] = found.weighted;
    results[3 * rows + row] = target >= 0 && target < columns ? wide(own[target]) * inverse_temperature : 0;
  }
}

// Puts the gradients by logits in their place: of the targets' log-probabilities and, unless `by_entropy` is NULL, of the
// entropies. A block a row.
extern "C" __global__ void logits_gradient(
    bf16* __restrict__ logits, int columns, const long* __restrict__ targets, float inverse_temperature,
    const float* __restrict__ log_sums, const float* __restrict__ entropies, const float* __restrict__ by_log_prob,
    const float* __restrict__ by_entropy) {
  const long row = blockIdx.x;
  bf16* own = logits + row * columns;
  const float log_sum = log_sums[row], entropy = entropies[row];
  const float first = by_log_prob[row] * inverse_temperature, second = by_entropy ? by_entropy[row] * inverse_temperature : 0;
  const long wanted = targets[row];
  auto gradient = [&](float logit, int column) {
    const float log_p = logit * inverse_temperature - log_sum;
    return (column == wanted ? first : 0) - __expf(log_p) * (first + second * (log_p + entropy));
  };
  const int even = columns % 8 == 0 ? columns : 0;
  for (int i = threadIdx.x * 8; i < even; i += blockDim.x * 8) {
    float z[8];
    unpack(*(const Eight*)(own + i), z);
#pragma unroll
    for (int k = 0; k < 8; ++k) z[k] = gradient(z[k], i + k);
    *(Eight*)(own + i) = pack(z);
  }
  for (int i = even + threadIdx.x; i < columns; i += blockDim.x) own[i] = narrow(gradient(wide(own[i]), i));
}
)cuda"
