// Samples rows of logits on a CPU in two passes over them, as the GPU's kernel does, without a number of noise for each.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "internal.h"
#include "numbers.h"
#include "pieces.h"

using namespace ctorch;

namespace {

/// Columns that are looked at together.
constexpr int64_t BLOCK = 64;
constexpr uint64_t GAMMA = 0x9E3779B97F4A7C15ull;

inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

/// The noise of `SamplingNoise` as -log(-log(uniform)).
inline float gumbel(uint64_t bits) {
  double uniform = static_cast<double>((bits >> 12) * 2 + 1) * 0x1p-53;
  return static_cast<float>(-std::log(-std::log(uniform)));
}

struct Choice {
  int64_t token;
  float score, log_prob;
};

template <typename Number>
INLINE Choice choose(
    const Number* logits, int64_t columns, float temperature, uint64_t key, bool is_greedy) {
  constexpr float nothing = -std::numeric_limits<float>::infinity();
  auto logit_at = [&](int64_t column) { return wide(logits[column]) / temperature; };
  float highest[BLOCK];
  for (int64_t j = 0; j < BLOCK; ++j) highest[j] = nothing;
  int64_t whole = columns / BLOCK * BLOCK;
  for (int64_t start = 0; start < whole; start += BLOCK)
    for (int64_t j = 0; j < BLOCK; ++j) {
      float value = logit_at(start + j);
      highest[j] = value > highest[j] ? value : highest[j];
    }
  float most = nothing;
  for (float value : highest) most = value > most ? value : most;
  for (int64_t column = whole; column < columns; ++column) most = logit_at(column) > most ? logit_at(column) : most;

  Choice best{0, nothing, 0};
  float best_logit = nothing;
  auto look = [&](int64_t column) {
    float logit = logit_at(column);
    float score = is_greedy ? logit : logit + gumbel(mix(key + static_cast<uint64_t>(column + 1) * GAMMA));
    if (score > best.score || (score == best.score && column < best.token)) {
      best.score = score;
      best.token = column;
      best_logit = logit;
    }
  };
  // A first score to beat. With noise: a column's -log(-log(u)) is at most -log(1 - u), so only where
  // 1 - u <= exp(logit - score to beat) can it win; there the whole formula decides.
  int64_t first = 0;
  while (first < columns && logit_at(first) != most) ++first;
  if (first < columns) look(first);
  float sums[16] = {};
  for (int64_t start = 0; start < columns; start += BLOCK) {
    int64_t count = std::min(BLOCK, columns - start);
    float shares[BLOCK];
    for (int64_t j = 0; j < count; ++j) shares[j] = exponential(logit_at(start + j) - most);
    for (int64_t j = count; j < BLOCK; ++j) shares[j] = 0;
    for (int64_t i = 0; i < BLOCK; i += 16)
      for (int64_t j = 0; j < 16; ++j) sums[j] += shares[i + j];
    if (is_greedy) continue;
    // Room for the roundings on both sides.
    float bound = std::exp(most - best.score) * 1.001f;
    int32_t hits = 0;
    for (int64_t j = 0; j < BLOCK; ++j) {
      uint64_t bits = mix(key + static_cast<uint64_t>(start + j + 1) * GAMMA);
      float rest = static_cast<float>(static_cast<int32_t>(~bits >> 33)) * 0x1p-31f;
      hits |= rest <= shares[j] * bound;
    }
    if (hits)
      for (int64_t j = 0; j < count; ++j) look(start + j);
  }
  float sum = 0;
  for (float part : sums) sum += part;
  // What is no number anywhere in the row makes all of it invalid.
  if (!std::isfinite(sum)) best.score = std::numeric_limits<float>::quiet_NaN();
  best.log_prob = best_logit - most - std::log(sum);
  return best;
}

FOR_EVERY_PROCESSOR Choice choose_float(const float* logits, int64_t columns, float temperature, uint64_t key, bool is_greedy) {
  return choose(logits, columns, temperature, key, is_greedy);
}

FOR_EVERY_PROCESSOR Choice choose_bfloat16(const uint16_t* logits, int64_t columns, float temperature, uint64_t key, bool is_greedy) {
  return choose(logits, columns, temperature, key, is_greedy);
}

}  // namespace

ct_tensor ct_sample(ct_tensor logits_handle, ct_tensor temperatures_handle, ct_tensor keys_handle, ct_tensor is_greedy_handle) {
  return guarded<>(ct_tensor{}, [&] {
    const at::Tensor& logits = borrow(logits_handle);
    TORCH_CHECK(logits.is_cpu() && logits.dim() == 2 && logits.stride(1) == 1, "rows of logits on the CPU are sampled");
    bool is_float = logits.scalar_type() == at::kFloat;
    TORCH_CHECK(is_float || logits.scalar_type() == at::kBFloat16, "logits are float32 or bfloat16");
    int64_t rows = logits.size(0), columns = logits.size(1), stride = logits.stride(0);
    auto* temperatures = static_cast<const float*>(borrow(temperatures_handle).const_data_ptr());
    auto* keys = static_cast<const int64_t*>(borrow(keys_handle).const_data_ptr());
    auto* is_greedy = static_cast<const bool*>(borrow(is_greedy_handle).const_data_ptr());
    at::Tensor samples = at::empty({2, rows}, at::kLong);
    const void* data = logits.const_data_ptr();
    auto* chosen = static_cast<int64_t*>(samples.mutable_data_ptr());
    auto* numbers = reinterpret_cast<float*>(chosen + rows);
    for_each_piece(rows, [&](int64_t row) {
      auto key = static_cast<uint64_t>(keys[row]);
      Choice choice = is_float
          ? choose_float(static_cast<const float*>(data) + row * stride, columns, temperatures[row], key, is_greedy[row])
          : choose_bfloat16(static_cast<const uint16_t*>(data) + row * stride, columns, temperatures[row], key, is_greedy[row]);
      chosen[row] = choice.token;
      numbers[2 * row] = choice.score;
      numbers[2 * row + 1] = choice.log_prob;
    });
    return give(samples);
  });
}
