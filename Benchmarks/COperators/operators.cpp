// The same calls as in Benchmarks/OperatorsBenchmark.swift, in the same order.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <functional>
#include <vector>

#include "include/coperators.h"

namespace {

template <typename Body>
std::function<void(int64_t)> repeat(Body body) {
  return [body](int64_t count) {
    for (int64_t i = 0; i < count; ++i) body();
  };
}

std::vector<std::function<void(int64_t)>> operators() {
  auto a = at::ones({4, 16}), b = at::ones({4, 16});
  auto square = at::ones({64, 64});
  auto rows = at::ones({64, 32});
  auto index = at::arange(8, at::kLong);
  auto x = at::ones({8, 64}), norm = at::ones({64}), up = at::ones({256, 64}), down = at::ones({64, 128});
  return {
      repeat([=] { at::add(a, b); }),
      repeat([=] { at::mul(a, 2.0); }),
      repeat([=] { a.add_(b); }),
      repeat([=] { at::mm(square, square); }),
      repeat([=] { a.view({16, 4}); }),
      repeat([=] { at::transpose(a, 0, 1); }),
      repeat([=] { at::silu(a); }),
      repeat([=] { at::index_select(rows, 0, index); }),
      repeat([=] { at::cat({a, b}, 0); }),
      repeat([=] {
        auto hidden = at::linear(at::rms_norm(x, {64}, norm, 1e-6), up);
        auto halves = hidden.chunk(2, -1);
        at::add(x, at::linear(at::mul(at::silu(halves[0]), halves[1]), down));
      }),
  };
}

}  // namespace

int64_t cb_nanoseconds(int32_t index, int64_t count) {
  try {
    static const auto all = operators();
    c10::NoGradGuard guard;
    auto start = std::chrono::steady_clock::now();
    all.at(index)(count);
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
  } catch (const std::exception&) {
    return -1;
  }
}
