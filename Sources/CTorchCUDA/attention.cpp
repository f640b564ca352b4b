// Our attention: of single queries over pages, and of sequences where a token's result does not depend on what is computed
// beside it.
#include "kernel_library.h"

static const char* const decoding =
#include "kernels/attention_tiles.cuh"
#include "kernels/attention.cuh"
    ;
static const char* const invariant =
#include "kernels/attention_tiles.cuh"
#include "kernels/invariant_attention.cuh"
#include "kernels/invariant_cluster.cuh"
    ;

namespace ctorch {

/// Tokens of a piece, which the invariant kernels divide contexts into.
constexpr int piece = 128;

/// One query a row. `parts_of_context`: what each context's results are kept of, where there are several splits; `more`: what the
/// kernel is told besides.
template <class... More>
static ct_tensor single_queries(const char* source, const char* attend, const char* join, int parts_of_context,
                                ct_tensor query_handle, ct_tensor new_key, ct_tensor new_value, ct_tensor keys, ct_tensor values,
                                ct_tensor pages_handle, ct_tensor lengths_handle, ct_tensor order, double scale,
                                int32_t page_size, int32_t splits, More... more) {
  const auto &query = borrow(query_handle), &key = borrow_optional(new_key), &value = borrow_optional(new_value),
             &pages = borrow(pages_handle);
  c10::cuda::CUDAGuard guard(query.device());
  int rows = query.size(0), heads = query.size(1), dimension = query.size(2), key_value_heads = borrow(keys).size(1);
  int group = heads / key_value_heads;
  int* lengths = static_cast<int*>(borrow(lengths_handle).data_ptr());
  std::vector<std::string> defines = {head(dimension)};
  auto output = at::empty({rows, heads, dimension}, query.options());
  at::Tensor parts;
  if (splits > 1) parts = at::empty({rows, heads, parts_of_context, dimension + 2}, query.options().dtype(at::kFloat));
  float* part = splits > 1 ? parts.data_ptr<float>() : nullptr;
  launch_early(kernel(source, attend, defines), dim3(key_value_heads * ((group + 7) / 8), rows, splits), dim3(128), 0,
               bits(query), (long)query.stride(0), optional_bits(key), key.defined() ? (long)key.stride(0) : 0L,
               optional_bits(value), value.defined() ? (long)value.stride(0) : 0L, bits(borrow(keys)), bits(borrow(values)),
               static_cast<int*>(pages.data_ptr()), (int)pages.stride(0), lengths, static_cast<int*>(borrow(order).data_ptr()),
               part, bits(output), (float)scale, page_size, key_value_heads, group, more...);
  if (splits > 1)
    launch_early(kernel(source, join, defines), dim3(rows * heads), dim3(dimension), 0, part, lengths, bits(output),
                 parts_of_context, heads);
  return give(output);
}

ct_tensor decode_attention(ct_tensor query, ct_tensor new_key, ct_tensor new_value, ct_tensor keys, ct_tensor values,
                           ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale, int32_t page_size,
                           int32_t splits) {
  return guarded<>(ct_tensor{}, [&] {
    return single_queries(decoding, "decode_attention", "merge_splits", splits, query, new_key, new_value, keys, values, pages,
                          lengths, order, scale, page_size, splits);
  });
}

/// How many blocks share a context, so that some two run on each multiprocessor; 1: there is no kernel by which they can.
static int cluster(int blocks, int dimension, int page_size) {
  if (at::cuda::getCurrentDeviceProperties()->major < 9 || dimension > 128 || page_size % 16 != 0) return 1;
  int shared = 8;
  while (shared > 1 && blocks * shared > busy_blocks(2)) shared /= 2;
  return shared;
}

ct_tensor invariant_decode_attention(ct_tensor query_handle, ct_tensor new_key, ct_tensor new_value, ct_tensor keys,
                                     ct_tensor values, ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale,
                                     int32_t page_size, int32_t splits) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &query = borrow(query_handle), &key = borrow_optional(new_key), &value = borrow_optional(new_value);
    c10::cuda::CUDAGuard guard(query.device());
    int rows = query.size(0), heads = query.size(1), dimension = query.size(2), key_value_heads = borrow(keys).size(1);
    int group = heads / key_value_heads, blocks = key_value_heads * ((group + 7) / 8);
    if (int shared = splits > 1 ? cluster(rows * blocks, dimension, page_size) : 1; shared > 1) {
      auto output = at::empty({rows, heads, dimension}, query.options());
      auto function = kernel(invariant, "invariant_cluster_attention", {head(dimension), "-DCLUSTER=" + std::to_string(shared)});
      launch_cluster(function, dim3(blocks, rows, shared), dim3(128), 0, bits(query), (long)query.stride(0), optional_bits(key),
                     key.defined() ? (long)key.stride(0) : 0L, optional_bits(value),
                     value.defined() ? (long)value.stride(0) : 0L, bits(borrow(keys)), bits(borrow(values)),
                     static_cast<int*>(borrow(pages).data_ptr()), (int)borrow(pages).stride(0),
                     static_cast<int*>(borrow(lengths).data_ptr()), static_cast<int*>(borrow(order).data_ptr()), bits(output),
                     (float)scale, page_size, key_value_heads, group);
      return give(output);
    }
    int pieces = (borrow(pages).size(1) * page_size + piece - 1) / piece;
    return single_queries(invariant, "invariant_decode_attention", "join_pieces", pieces, query_handle, new_key, new_value, keys,
                          values, pages, lengths, order, scale, page_size, splits, pieces);
  });
}

void invariant_attention(ct_tensor query_handle, ct_tensor keys_handle, ct_tensor values_handle, ct_tensor sequences,
                         ct_tensor tiles_handle, ct_tensor pages_handle, double scale, int32_t page_size, ct_tensor* output,
                         ct_tensor* log_sums) {
  guarded([&] {
    const auto &query = borrow(query_handle), &keys = borrow(keys_handle), &values = borrow(values_handle),
               &tiles = borrow(tiles_handle), &pages = borrow_optional(pages_handle);
    c10::cuda::CUDAGuard guard(query.device());
    int heads = query.size(1), dimension = query.size(2);
    auto result = at::empty(query.sizes(), query.options());
    auto sums = at::empty({query.size(0), heads}, query.options().dtype(at::kFloat));
    if (tiles.size(0) > 0)
      launch(kernel(invariant, "invariant_attention", {head(dimension)}), dim3(heads, tiles.size(0)), dim3(256),
             0, bits(query), (long)query.stride(0), bits(keys), (long)keys.stride(0), bits(values), (long)values.stride(0),
             borrow(sequences).data_ptr(), tiles.data_ptr(), pages.defined() ? static_cast<int*>(pages.data_ptr()) : nullptr,
             pages.defined() ? (int)pages.stride(0) : 0, page_size, bits(result), sums.data_ptr<float>(), (float)scale,
             heads / (int)keys.size(1));
    *output = give(result);
    *log_sums = give(sums);
  });
}

}  // namespace ctorch
