// What layers do beside products, on a CPU in float32 and without gradients: several operators in one pass, rows by all threads.
#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "internal.h"
#include "numbers.h"
#include "pieces.h"

using namespace ctorch;

namespace {

/// Numbers that are worth a thread's while.
constexpr int64_t LEAST = 8192;
/// Sums beside each other, for the compiler to make vectors of.
constexpr int64_t LANES = 16;

/// Calls `body` with ranges of rows of so many numbers.
template <typename F>
void for_rows(int64_t rows, int64_t width, const F& body) {
  int64_t step = std::max<int64_t>(1, LEAST / std::max<int64_t>(1, width));
  for_each_piece((rows + step - 1) / step, [&](int64_t piece) { body(piece * step, std::min(rows, (piece + 1) * step)); });
}

INLINE float inverse_root_mean_square(const float* row, int64_t width, float epsilon) {
  float lanes[LANES] = {}, sum = 0;
  int64_t i = 0;
  for (; i + LANES <= width; i += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) lanes[lane] += row[i + lane] * row[i + lane];
  for (; i < width; ++i) sum += row[i] * row[i];
  for (float part : lanes) sum += part;
  return 1 / std::sqrt(sum / width + epsilon);
}

FOR_EVERY_PROCESSOR void add_norm_row(
    const float* input, const float* delta, const float* weight, float epsilon, int64_t width, float* sum, float* normed) {
  if (delta)
    for (int64_t i = 0; i < width; ++i) sum[i] = input[i] + delta[i];
  const float* row = delta ? sum : input;
  float inverse = inverse_root_mean_square(row, width, epsilon);
  for (int64_t i = 0; i < width; ++i) normed[i] = row[i] * inverse * weight[i];
}

FOR_EVERY_PROCESSOR void silu_multiply_row(const float* gate, const float* up, int64_t width, float* output) {
  for (int64_t i = 0; i < width; ++i) {
    float part = exponential(-std::fabs(gate[i])), share = (gate[i] < 0 ? part : 1.f) / (1 + part);
    output[i] = gate[i] * share * up[i];
  }
}

/// What heads of queries, or of keys, become.
struct Heads {
  const float* heads;
  int64_t count, stride;  // of tokens
  const float* weight;    // of their norm, or null
  float* output;
};

FOR_EVERY_PROCESSOR void norm_rotate_token(const Heads& of, int64_t token, int64_t dimension, float epsilon,
                                           const float* cosine, const float* sine, int64_t rotated) {
  int64_t half = rotated / 2;
  for (int64_t head = 0; head < of.count; ++head) {
    const float* from = of.heads + token * of.stride + head * dimension;
    float* to = of.output + (token * of.count + head) * dimension;
    if (of.weight) {
      float inverse = inverse_root_mean_square(from, dimension, epsilon);
      for (int64_t i = 0; i < dimension; ++i) to[i] = from[i] * inverse * of.weight[i];
    } else {
      for (int64_t i = 0; i < dimension; ++i) to[i] = from[i];
    }
    for (int64_t i = 0; i < half; ++i) {
      float first = to[i], second = to[i + half];
      to[i] = first * cosine[i] - second * sine[i];
      to[i + half] = second * cosine[i + half] + first * sine[i + half];
    }
  }
}

const float* numbers(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const float*>(tensor.const_data_ptr()) : nullptr;
}
float* fresh_numbers(const at::Tensor& tensor) { return static_cast<float*>(tensor.mutable_data_ptr()); }

/// Refuses what is not float32 on the CPU, with neighbours in the last dimension.
void check(std::initializer_list<const at::Tensor*> tensors) {
  for (const at::Tensor* tensor : tensors)
    TORCH_CHECK(!tensor->defined() || (tensor->is_cpu() && tensor->scalar_type() == at::kFloat && tensor->stride(-1) == 1),
                "layers take float32 on the CPU, rows of which are contiguous");
}

}  // namespace

void ct_add_norm(ct_tensor input_handle, ct_tensor delta_handle, ct_tensor weight_handle, double epsilon, ct_tensor* sum,
                 ct_tensor* normed) {
  guarded([&] {
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    at::Tensor input = borrow(input_handle).contiguous(), weight = borrow(weight_handle).contiguous();
    at::Tensor delta = delta_handle ? borrow(delta_handle).contiguous() : at::Tensor();
    check({&input, &delta, &weight});
    int64_t rows = input.size(0), width = input.size(1);
    TORCH_CHECK(weight.numel() == width && (!delta.defined() || delta.sizes() == input.sizes()), "rows to norm do not fit");
    at::Tensor total = delta.defined() ? at::empty_like(input) : input, result = at::empty_like(input);
    float* sums = delta.defined() ? fresh_numbers(total) : nullptr;
    float* norms = fresh_numbers(result);
    for_rows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t at = row * width;
        add_norm_row(numbers(input) + at, delta.defined() ? numbers(delta) + at : nullptr, numbers(weight),
                     static_cast<float>(epsilon), width, sums ? sums + at : nullptr, norms + at);
      }
    });
    *sum = give(total);
    *normed = give(result);
  });
}

ct_tensor ct_silu_multiply(ct_tensor handle) {
  return guarded<>(ct_tensor{}, [&] {
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    at::Tensor both = borrow(handle).contiguous();
    check({&both});
    int64_t rows = both.size(0), width = both.size(1) / 2;
    at::Tensor output = at::empty({rows, width}, both.options());
    float* to = fresh_numbers(output);
    for_rows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* gate = numbers(both) + row * 2 * width;
        silu_multiply_row(gate, gate + width, width, to + row * width);
      }
    });
    return give(output);
  });
}

void ct_norm_rotate(ct_tensor query_handle, ct_tensor key_handle, ct_tensor query_weight_handle, ct_tensor key_weight_handle,
                    double epsilon, ct_tensor cosine_handle, ct_tensor sine_handle, ct_tensor* new_query, ct_tensor* new_key) {
  guarded([&] {
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    const at::Tensor &query = borrow(query_handle), &key = borrow(key_handle);
    at::Tensor cosine = borrow(cosine_handle).contiguous(), sine = borrow(sine_handle).contiguous();
    auto weight = [](ct_tensor handle) { return handle ? borrow(handle).contiguous() : at::Tensor(); };
    at::Tensor query_weight = weight(query_weight_handle), key_weight = weight(key_weight_handle);
    check({&query, &key, &cosine, &sine, &query_weight, &key_weight});
    int64_t tokens = query.size(0), dimension = query.size(2), rotated = cosine.size(-1);
    TORCH_CHECK(query.stride(1) == dimension && key.stride(1) == dimension && key.size(2) == dimension && rotated <= dimension,
                "heads to rotate do not fit");
    at::Tensor turned = at::empty(query.sizes(), query.options()), turned_key = at::empty(key.sizes(), key.options());
    Heads heads[] = {
        {numbers(query), query.size(1), query.stride(0), numbers(query_weight), fresh_numbers(turned)},
        {numbers(key), key.size(1), key.stride(0), numbers(key_weight), fresh_numbers(turned_key)}};
    for_rows(tokens, (query.size(1) + key.size(1)) * dimension, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token)
        for (const Heads& of : heads)
          norm_rotate_token(of, token, dimension, static_cast<float>(epsilon), numbers(cosine) + token * rotated,
                            numbers(sine) + token * rotated, rotated);
    });
    *new_query = give(turned);
    *new_key = give(turned_key);
  });
}
