// Matrix products that are computed in pieces of constant shape, so that what a row becomes depends on nothing beside it:
// neither on how many rows there are, nor on where it stands among them, nor on how many threads there are.
#include <ATen/ATen.h>

#include "internal.h"
#include "pieces.h"

using namespace ctorch;

namespace {

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
