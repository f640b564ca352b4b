// Matrix products that are computed in pieces of constant shape, so that what a row becomes depends on nothing beside it:
// neither on how many rows there are, nor on where it stands among them, nor on how many threads there are.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <dlfcn.h>

#include <atomic>
#include <exception>
#include <mutex>

#include "internal.h"

using namespace ctorch;

namespace {

/// A function of libtorch's own copies of OpenMP and MKL; null where it has none.
template <typename F>
F* find(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

/// Libraries that are asked for a product divide long sums among the threads that they may have: one, here.
class OneThread {
 public:
  OneThread() {
    // A thread that is new to ATen would be given its number of threads later, by the first operator.
    at::get_num_threads();
    if (set_mkl) mkl_before = set_mkl(1);
    if (get_omp && set_omp) {
      omp_before = get_omp();
      set_omp(1);
    }
  }
  ~OneThread() {
    if (set_mkl) set_mkl(mkl_before);
    if (get_omp && set_omp) set_omp(omp_before);
  }

 private:
  static inline int (*const set_mkl)(int) = find<int(int)>("MKL_Set_Num_Threads_Local");
  static inline int (*const get_omp)() = find<int()>("omp_get_max_threads");
  static inline void (*const set_omp)(int) = find<void(int)>("omp_set_num_threads");
  int mkl_before = 0;
  int omp_before = 1;
};

/// What a parallel region of OpenMP compiles to; this compiler has none.
using Region = void(void (*body)(void*), void* context, unsigned threads, unsigned flags);

template <typename F>
struct Pieces {
  const F& body;
  const int64_t count;
  std::atomic<int64_t> next{0};
  std::mutex lock;
  std::exception_ptr error;

  void run() noexcept {
    // Threads of the pool know nothing of what is off on the caller's.
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    OneThread one_thread;
    try {
      for (int64_t index; (index = next++) < count;) body(index);
    } catch (...) {
      std::lock_guard guard(lock);
      error = std::current_exception();
      next = count;
    }
  }
};

/// Calls `body(index)` for each of `count` pieces, on as many threads as ATen has, each of which computes by itself.
template <typename F>
void for_each_piece(int64_t count, const F& body) {
  static Region* const region = find<Region>("GOMP_parallel");
  Pieces<F> pieces{body, count};
  int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  if (region && threads > 1) {
    region([](void* context) { static_cast<Pieces<F>*>(context)->run(); }, &pieces, threads, 0);
  } else {
    pieces.run();
  }
  if (pieces.error) std::rethrow_exception(pieces.error);
}

int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

/// Rows from `start`, `count` of them, with zeros where there are no more.
at::Tensor padded_rows(const at::Tensor& rows, int64_t start, int64_t count) {
  int64_t own = std::min(count, rows.size(0) - start);
  if (own == count) return rows.narrow(0, start, count);
  at::Tensor padded = at::zeros({count, rows.size(1)}, rows.options());
  padded.narrow(0, 0, own).copy_(rows.narrow(0, start, own));
  return padded;
}

at::Tensor linear_by_tiles(const at::Tensor& input, const at::Tensor& weight, int64_t tile_rows, int64_t tile_columns) {
  if (input.is_meta()) return at::linear(input, weight);
  int64_t rows = input.size(0), columns = weight.size(0);
  at::Tensor output = at::empty({rows, columns}, input.options());
  at::Tensor matrix = weight.t();
  if (!input.is_cpu()) {
    for (int64_t start = 0; start < rows; start += tile_rows) {
      int64_t own = std::min(tile_rows, rows - start);
      at::Tensor tile = at::mm(padded_rows(input, start, tile_rows), matrix);
      output.narrow(0, start, own).copy_(tile.narrow(0, 0, own));
    }
    return output;
  }
  int64_t row_tiles = pieces(rows, tile_rows);
  // Neighbours share the columns' weights.
  for_each_piece(row_tiles * pieces(columns, tile_columns), [&](int64_t index) {
    int64_t row = index % row_tiles * tile_rows, column = index / row_tiles * tile_columns;
    int64_t own = std::min(tile_rows, rows - row), width = std::min(tile_columns, columns - column);
    at::Tensor tile = at::mm(padded_rows(input, row, tile_rows), matrix.narrow(1, column, width));
    output.narrow(0, row, own).narrow(1, column, width).copy_(tile.narrow(0, 0, own));
  });
  return output;
}

/// On a GPU: products of so many matrices at a time.
constexpr int64_t matrices_at_a_time = 64;

at::Tensor products(const at::Tensor& left, const at::Tensor& right, const at::Tensor& index) {
  int64_t count = left.size(0);
  if (!left.is_cpu()) {
    at::Tensor output = at::empty({count, left.size(1), right.size(2)}, left.options());
    if (left.is_meta()) return output;
    at::Tensor all = right.index_select(0, index);
    for (int64_t start = 0; start < count; start += matrices_at_a_time) {
      int64_t own = std::min(matrices_at_a_time, count - start);
      auto padded = [&](const at::Tensor& matrices) {
        at::Tensor part = matrices.narrow(0, start, own);
        return own == matrices_at_a_time
            ? part : at::constant_pad_nd(part, {0, 0, 0, 0, 0, matrices_at_a_time - own});
      };
      output.narrow(0, start, own).copy_(at::bmm(padded(left).contiguous(), padded(all).contiguous()).narrow(0, 0, own));
    }
    return output;
  }
  at::Tensor output = at::empty({count, left.size(1), right.size(2)}, left.options());
  at::Tensor own_index = index.contiguous();
  auto* places = static_cast<const int64_t*>(own_index.const_data_ptr());
  for_each_piece(count, [&](int64_t i) {
    at::Tensor result = output.select(0, i);
    at::mm_out(result, left.select(0, i), right.select(0, places[i]));
  });
  return output;
}

}  // namespace

ct_tensor ct_linear_by_tiles(ct_tensor input, ct_tensor weight, int64_t tile_rows, int64_t tile_columns) {
  return guarded<>(ct_tensor{}, [&] {
    return give(linear_by_tiles(borrow(input), borrow(weight), tile_rows, tile_columns));
  });
}

ct_tensor ct_products(ct_tensor left, ct_tensor right, ct_tensor index) {
  return guarded<>(ct_tensor{}, [&] {
    const at::Tensor& places = borrow(index);
    TORCH_CHECK(places.scalar_type() == at::kLong && places.numel() == borrow(left).size(0),
                "a right matrix is named for each left one, by an int64");
    return give(products(borrow(left), borrow(right), places));
  });
}
