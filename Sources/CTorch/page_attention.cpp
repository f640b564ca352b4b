// Attention of single queries over the pages of their contexts on a CPU: keys and values are read where they lie, once for all
// query heads that share them.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "internal.h"
#include "numbers.h"
#include "pieces.h"

using namespace ctorch;

namespace {

/// Tokens that are looked at together: scores of all, then the softmax so far, then values.
constexpr int64_t BLOCK = 32;
/// Query heads that stand against the same keys at once.
constexpr int64_t MOST_HEADS = 4;
/// Tokens that are fetched before they are looked at: they lie too far apart for the processor to guess.
constexpr int64_t AHEAD = 8;
/// Bytes that are fetched at once.
constexpr int64_t LINE = 64;
/// Numbers in a vector.
constexpr int64_t LANES = 8;

using Floats = float __attribute__((vector_size(32)));
using Words = uint32_t __attribute__((vector_size(32)));
using Halves = uint16_t __attribute__((vector_size(16)));

INLINE void load(Floats& numbers, const float* from) { std::memcpy(&numbers, from, sizeof numbers); }
INLINE void load(Floats& numbers, const uint16_t* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&numbers, &words, sizeof numbers);
}
INLINE void store(float* to, const Floats& numbers) { std::memcpy(to, &numbers, sizeof numbers); }

/// Has `count` numbers on their way.
template <typename Number>
INLINE void fetch(const Number* from, int64_t count) {
  for (int64_t i = 0; i < count; i += LINE / sizeof(Number)) __builtin_prefetch(from + i);
}

/// Sums of neighbours: two of one vector, then two of the other, in each half.
INLINE void add_pairs(Floats& sums, const Floats& a, const Floats& b) {
  sums = __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) + __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}

/// The sum of each of eight vectors.
INLINE void add_up(Floats& sums, const Floats (&parts)[LANES]) {
  Floats pairs[4], fours[2];
  for (int i = 0; i < 4; ++i) add_pairs(pairs[i], parts[2 * i], parts[2 * i + 1]);
  for (int i = 0; i < 2; ++i) add_pairs(fours[i], pairs[2 * i], pairs[2 * i + 1]);
  sums = __builtin_shufflevector(fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

/// Some query heads, with what they have seen so far.
struct Heads {
  const float* queries;  // [heads, dimension], scaled
  float* outputs;        // [heads, value dimension]
  float* highest;        // [heads]
  float* sums;           // [heads]
};

template <typename Number>
struct Contexts {
  const Number *query, *keys, *values;
  const int32_t *pages, *lengths;
  const float* sinks;
  Number* output;
  int64_t heads, key_value_heads, dimension, value_dimension;
  int64_t query_stride, query_head_stride, key_stride, value_stride, table_width, page_size, window;
  float scale, soft_cap;
};

/// Products of some heads' queries with the keys of tokens in eights; slots behind the last one repeat it.
template <int HEADS, typename Number>
INLINE void score(const Heads& heads, const Number* keys, const int64_t* slots, int64_t count, int64_t stride,
                  int64_t dimension, float (&scores)[HEADS][BLOCK]) {
  for (int64_t start = 0; start < count; start += LANES) {
    Floats parts[HEADS][LANES];
    for (int64_t token = 0; token < LANES; token += 2) {
      const Number* first = keys + slots[start + token] * stride;
      const Number* second = keys + slots[start + token + 1] * stride;
      fetch(keys + slots[start + token + AHEAD] * stride, dimension);
      fetch(keys + slots[start + token + 1 + AHEAD] * stride, dimension);
      Floats of_first[HEADS] = {}, of_second[HEADS] = {};
      for (int64_t place = 0; place < dimension; place += LANES) {
        Floats first_key, second_key;
        load(first_key, first + place);
        load(second_key, second + place);
        for (int head = 0; head < HEADS; ++head) {
          Floats query;
          load(query, heads.queries + head * dimension + place);
          of_first[head] += query * first_key;
          of_second[head] += query * second_key;
        }
      }
      for (int head = 0; head < HEADS; ++head) {
        parts[head][token] = of_first[head];
        parts[head][token + 1] = of_second[head];
      }
    }
    for (int head = 0; head < HEADS; ++head) {
      Floats sums;
      add_up(sums, parts[head]);
      store(scores[head] + start, sums);
    }
  }
}

/// Makes scores shares of the softmax, by the highest score so far; zeros behind the last.
/// - Returns: what earlier shares are worth beside them.
INLINE float share(float (&scores)[BLOCK], int64_t count, float soft_cap, float& highest, float& sum) {
  if (soft_cap > 0)
    for (int64_t i = 0; i < count; ++i) {
      float part = exponential(-2 * std::fabs(scores[i]) / soft_cap);
      scores[i] = std::copysign(soft_cap * (1 - part) / (1 + part), scores[i]);
    }
  for (int64_t i = count; i < BLOCK; ++i) scores[i] = -std::numeric_limits<float>::infinity();
  float most[LANES];
  for (int64_t lane = 0; lane < LANES; ++lane) most[lane] = highest;
  for (int64_t start = 0; start < BLOCK; start += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane)
      most[lane] = scores[start + lane] > most[lane] ? scores[start + lane] : most[lane];
  float before = highest;
  for (float value : most) highest = value > highest ? value : highest;
  for (int64_t i = 0; i < BLOCK; ++i) scores[i] = exponential(scores[i] - highest);
  for (int64_t i = count; i < BLOCK; ++i) scores[i] = 0;
  float sums[LANES] = {};
  for (int64_t start = 0; start < BLOCK; start += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += scores[start + lane];
  float factor = before == highest ? 1 : exponential(before - highest), added = 0;
  for (float part : sums) added += part;
  sum = sum * factor + added;
  return factor;
}

/// Adds the values of tokens by their shares to some vectors of the heads' outputs.
template <int HEADS, int VECTORS, typename Number>
INLINE void add_values(const Heads& heads, const Number* values, const int64_t* slots, int64_t count, int64_t stride,
                       int64_t dimension, const float (&shares)[HEADS][BLOCK], const float (&factors)[HEADS], int64_t place) {
  Floats sums[HEADS][VECTORS];
  for (int head = 0; head < HEADS; ++head)
    for (int i = 0; i < VECTORS; ++i) {
      load(sums[head][i], heads.outputs + head * dimension + place + i * LANES);
      sums[head][i] *= factors[head];
    }
  for (int64_t token = 0; token < count; ++token) {
    const Number* from = values + slots[token] * stride + place;
    fetch(values + slots[token + AHEAD] * stride + place, VECTORS * LANES);
    for (int i = 0; i < VECTORS; ++i) {
      Floats value;
      load(value, from + i * LANES);
      for (int head = 0; head < HEADS; ++head) sums[head][i] += shares[head][token] * value;
    }
  }
  for (int head = 0; head < HEADS; ++head)
    for (int i = 0; i < VECTORS; ++i) store(heads.outputs + head * dimension + place + i * LANES, sums[head][i]);
}

/// One block of tokens for some heads that share keys and values.
template <int HEADS, typename Number>
INLINE void look(const Contexts<Number>& of, const Heads& heads, const Number* keys, const Number* values,
                 const int64_t* slots, int64_t count) {
  float scores[HEADS][BLOCK], factors[HEADS];
  score<HEADS>(heads, keys, slots, count, of.key_stride, of.dimension, scores);
  for (int head = 0; head < HEADS; ++head)
    factors[head] = share(scores[head], count, of.soft_cap, heads.highest[head], heads.sums[head]);
  // So many that all sums stay in registers.
  constexpr int VECTORS = HEADS > 2 ? 2 : 4;
  int64_t place = 0, step = VECTORS * LANES;
  for (; place + step <= of.value_dimension; place += step)
    add_values<HEADS, VECTORS>(heads, values, slots, count, of.value_stride, of.value_dimension, scores, factors, place);
  for (; place < of.value_dimension; place += LANES)
    add_values<HEADS, 1>(heads, values, slots, count, of.value_stride, of.value_dimension, scores, factors, place);
}

/// Where the tokens lie that a row's query sees, and the last one as often again as others are looked at behind it.
template <typename Number>
std::vector<int64_t> slots_of(const Contexts<Number>& of, int64_t row) {
  int64_t length = of.lengths[row], first = of.window > 0 ? std::max<int64_t>(0, length - of.window) : 0;
  std::vector<int64_t> slots;
  slots.reserve(length - first + AHEAD + LANES);
  const int32_t* page = of.pages + row * of.table_width + first / of.page_size;
  int64_t place = first % of.page_size;
  for (int64_t token = first; token < length; ++token) {
    slots.push_back(*page * of.page_size + place);
    if (++place == of.page_size) ++page, place = 0;
  }
  if (length > 0) slots.insert(slots.end(), AHEAD + LANES, slots.back());
  return slots;
}

/// The query heads of one row that share a key-value head.
template <typename Number>
INLINE void attend(
    const Contexts<Number>& of, int64_t row, int64_t shared, const int64_t* slots, int64_t length, float* scratch) {
  int64_t heads = of.heads / of.key_value_heads, start = shared * heads;
  float* queries = scratch;
  float* outputs = queries + heads * of.dimension;
  float* highest = outputs + heads * of.value_dimension;
  float* sums = highest + heads;
  for (int64_t head = 0; head < heads; ++head) {
    const Number* query = of.query + row * of.query_stride + (start + head) * of.query_head_stride;
    for (int64_t i = 0; i < of.dimension; ++i) queries[head * of.dimension + i] = wide(query[i]) * of.scale;
    highest[head] = of.sinks ? of.sinks[start + head] : -std::numeric_limits<float>::infinity();
    sums[head] = of.sinks ? 1 : 0;
  }
  std::fill(outputs, highest, 0.f);

  const Number* keys = of.keys + shared * of.dimension;
  const Number* values = of.values + shared * of.value_dimension;
  for (int64_t done = 0; done < length; done += BLOCK) {
    int64_t count = std::min(BLOCK, length - done);
    for (int64_t head = 0; head < heads; head += MOST_HEADS) {
      Heads some{queries + head * of.dimension, outputs + head * of.value_dimension, highest + head, sums + head};
      switch (heads - head) {
        case 1: look<1>(of, some, keys, values, slots + done, count); break;
        case 2: look<2>(of, some, keys, values, slots + done, count); break;
        case 3: look<3>(of, some, keys, values, slots + done, count); break;
        default: look<MOST_HEADS>(of, some, keys, values, slots + done, count);
      }
    }
  }

  for (int64_t head = 0; head < heads; ++head) {
    Number* output = of.output + (row * of.heads + start + head) * of.value_dimension;
    float factor = length > 0 ? 1 / sums[head] : 0;
    for (int64_t i = 0; i < of.value_dimension; ++i) narrow(output[i], outputs[head * of.value_dimension + i] * factor);
  }
}

FOR_EVERY_PROCESSOR void attend_float(
    const Contexts<float>& of, int64_t row, int64_t shared, const int64_t* slots, int64_t length, float* scratch) {
  attend(of, row, shared, slots, length, scratch);
}

FOR_EVERY_PROCESSOR void attend_bfloat16(
    const Contexts<uint16_t>& of, int64_t row, int64_t shared, const int64_t* slots, int64_t length, float* scratch) {
  attend(of, row, shared, slots, length, scratch);
}

template <typename Number>
void attend_all(const Contexts<Number>& of, const int32_t* order, int64_t rows) {
  int64_t room = of.heads / of.key_value_heads * (of.dimension + of.value_dimension + 2);
  for_each_piece(rows * of.key_value_heads, [&](int64_t piece) {
    int64_t row = order[piece / of.key_value_heads], shared = piece % of.key_value_heads;
    std::vector<int64_t> slots = slots_of(of, row);
    int64_t length = slots.empty() ? 0 : slots.size() - AHEAD - LANES;
    std::vector<float> scratch(room);
    if constexpr (std::is_same_v<Number, float>) {
      attend_float(of, row, shared, slots.data(), length, scratch.data());
    } else {
      attend_bfloat16(of, row, shared, slots.data(), length, scratch.data());
    }
  });
}

}  // namespace

ct_tensor ct_page_attention(ct_tensor query_handle, ct_tensor keys_handle, ct_tensor values_handle, ct_tensor pages_handle,
                            ct_tensor lengths_handle, ct_tensor order_handle, ct_tensor sinks_handle, double scale,
                            double soft_cap, int64_t window, int64_t page_size) {
  return guarded<>(ct_tensor{}, [&] {
    const at::Tensor &query = borrow(query_handle), &keys = borrow(keys_handle), &values = borrow(values_handle);
    const at::Tensor &pages = borrow(pages_handle), &lengths = borrow(lengths_handle), &order = borrow(order_handle);
    auto type = query.scalar_type();
    TORCH_CHECK(type == at::kFloat || type == at::kBFloat16, "queries are float32 or bfloat16");
    for (const at::Tensor* tensor : {&query, &keys, &values})
      TORCH_CHECK(tensor->is_cpu() && tensor->dim() == 3 && tensor->scalar_type() == type && tensor->stride(2) == 1 &&
                      tensor->size(2) % LANES == 0,
                  "heads of one type on the CPU, of multiples of 8, attend");
    int64_t rows = query.size(0), heads = query.size(1), shared = keys.size(1);
    int64_t dimension = query.size(2), value_dimension = values.size(2);
    TORCH_CHECK(keys.size(2) == dimension && values.size(1) == shared && heads % shared == 0, "heads do not fit");
    TORCH_CHECK(keys.stride(1) == dimension && values.stride(1) == value_dimension, "the heads of a slot are contiguous");
    for (const at::Tensor* tensor : {&pages, &lengths, &order})
      TORCH_CHECK(tensor->is_cpu() && tensor->scalar_type() == at::kInt && tensor->is_contiguous() && tensor->size(0) == rows,
                  "the table holds int32 of each row");
    std::optional<at::Tensor> sinks = optional(sinks_handle);
    TORCH_CHECK(!sinks || (sinks->is_contiguous() && sinks->scalar_type() == at::kFloat && sinks->numel() == heads),
                "sinks are float32, one a head");
    TORCH_CHECK(!c10::GradMode::is_enabled() || !query.requires_grad(), "attention over pages has no gradients");
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    at::Tensor output = at::empty({rows, heads, value_dimension}, query.options());
    auto run = [&](auto number) {
      using Number = decltype(number);
      auto numbers = [](const at::Tensor& tensor) { return static_cast<const Number*>(tensor.const_data_ptr()); };
      auto integers = [](const at::Tensor& tensor) { return static_cast<const int32_t*>(tensor.const_data_ptr()); };
      Contexts<Number> of{
          numbers(query), numbers(keys), numbers(values), integers(pages), integers(lengths),
          sinks ? static_cast<const float*>(sinks->const_data_ptr()) : nullptr,
          static_cast<Number*>(output.mutable_data_ptr()), heads, shared, dimension, value_dimension, query.stride(0),
          query.stride(1), keys.stride(0), values.stride(0), pages.size(1), page_size, window, static_cast<float>(scale),
          static_cast<float>(soft_cap)};
      attend_all(of, integers(order), rows);
    };
    type == at::kFloat ? run(float{}) : run(uint16_t{});
    return give(output);
  });
}
