// The GPU half: a table of functions that CTorchCUDA, a shared library of its own, offers. It is opened at run time,
// after libtorch_cuda and only where there is a GPU, so that one binary serves both. Errors as in ctorch.h.
#pragma once

#include "ctorch.h"

typedef struct {
  int64_t id;
  int32_t device_index;
} ct_stream;

typedef struct ct_event_impl* ct_event;
typedef struct ct_graph_impl* ct_graph;

// Bytes on a device: what the driver says, and what libtorch's allocator holds of it.
typedef struct {
  uint64_t free;
  uint64_t total;
  uint64_t allocated;
  uint64_t peak_allocated;
  uint64_t reserved;
} ct_memory;

// How packed queries and keys belong together. Without starts and lengths all sequences are `query_length` and `key_length`
// long; with them those are upper bounds, as the totals are of tokens: plans are kept by them.
typedef struct {
  int64_t sequences;
  int64_t query_length;
  int64_t key_length;
  int64_t query_total;
  int64_t key_total;
  double scale;
  bool is_causal;
  ct_tensor query_starts;   // [sequences + 1], int64, or NULL
  ct_tensor key_starts;
  ct_tensor query_lengths;  // [sequences], int32
  ct_tensor key_lengths;
} ct_attention_shape;

// Layers of a dense model, as few_rows_layers takes them.
typedef struct {
  int32_t layers, hidden, inner, heads, key_value_heads, head;
  double epsilon;   // of norms
  double scale;     // of products of queries and keys
  bool is_float8;   // weights are e4m3, with a scale for each output
} ct_dense_layers;

typedef struct {
  // The group is one like any other: every function of ctorch.h takes it. `name` is what its error messages say. libtorch
  // ends the process when another rank is gone for longer than the deadline, unless `survives`: then whoever waits must abort.
  ct_group (*nccl_group)(ct_store store, int32_t rank, int32_t size, int32_t device_index, const char* name,
                         int64_t timeout_ms, bool survives);

  bool (*memory)(int32_t device_index, ct_memory* out);
  void (*reset_peak_memory)(int32_t device_index);
  void (*empty_cache)(void);
  // Ten times the major number and the minor one; 0 with an error.
  int32_t (*compute_capability)(int32_t device_index);

  ct_stream (*current_stream)(int32_t device_index);
  ct_stream (*pool_stream)(int32_t device_index, bool high_priority);
  void (*set_current_stream)(ct_stream stream);
  void (*synchronize_stream)(ct_stream stream);
  // Keeps the tensor's memory from other use until what the stream has queued is done.
  void (*record_stream)(ct_tensor tensor, ct_stream stream);

  ct_event (*event)(bool timed);
  void (*release_event)(ct_event event);
  void (*record_event)(ct_event event, ct_stream stream);
  void (*wait_event)(ct_event event, ct_stream stream);
  void (*synchronize_event)(ct_event event);
  bool (*event_is_done)(ct_event event);
  double (*milliseconds_between)(ct_event start, ct_event end);

  // Records what the calling thread queues on its current stream, which must not be the default one. `sharing`, or NULL: a
  // graph whose memory this one may use too, since they are never replayed at the same time.
  ct_graph (*graph_begin)(ct_graph sharing);
  void (*graph_end)(ct_graph graph);
  void (*graph_replay)(ct_graph graph);
  void (*graph_release)(ct_graph graph);

  // Our kernels, for bf16. Shapes as in Kernels.swift; NULL where an argument may be left out.
  void (*write_pages)(ct_tensor key, ct_tensor value, ct_tensor keys, ct_tensor values, ct_tensor slots);
  ct_tensor (*decode_attention)(ct_tensor query, ct_tensor new_key, ct_tensor new_value, ct_tensor keys, ct_tensor values,
                                ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale, int32_t page_size,
                                int32_t splits);
  // Of InvariantKernels.swift.
  ct_tensor (*invariant_decode_attention)(ct_tensor query, ct_tensor new_key, ct_tensor new_value, ct_tensor keys,
                                          ct_tensor values, ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale,
                                          int32_t page_size, int32_t splits);
  void (*invariant_attention)(ct_tensor query, ct_tensor keys, ct_tensor values, ct_tensor sequences, ct_tensor tiles,
                              ct_tensor pages, double scale, int32_t page_size, ct_tensor* output, ct_tensor* log_sums);
  ct_tensor (*invariant_linear)(ct_tensor input, ct_tensor weight);
  // The most rows that invariant_few_rows_linear takes of such a weight; 0: none.
  int32_t (*invariant_few_rows)(ct_tensor weight);
  // As few_rows_linear.
  ct_tensor (*invariant_few_rows_linear)(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight,
                                         ct_tensor bias, ct_tensor residual);
  ct_tensor (*silu_multiply)(ct_tensor both);
  void (*add_norm)(ct_tensor input, ct_tensor delta, ct_tensor weight, double epsilon, ct_tensor* sum, ct_tensor* normed);
  void (*norm_rotate)(ct_tensor query, ct_tensor key, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                      ct_tensor cosine, ct_tensor sine, ct_tensor* new_query, ct_tensor* new_key);
  // `norm`, or NULL: of the input; `is_gated`: it is [gate | up].
  ct_tensor (*few_rows_linear)(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight, ct_tensor bias,
                               ct_tensor residual);
  ct_tensor (*few_rows_float8_linear)(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight,
                                      ct_tensor scales, ct_tensor bias, ct_tensor residual);
  // The most rows that few_rows_layers takes of such a model; 0: none.
  int32_t (*few_rows_of_layers)(ct_dense_layers shape, int32_t device_index);
  // What it works in. tensors: of each layer, NULL where there is none, the matrices of queries, keys and values, of attention's
  // output, of gate and up and of down, each the weight, its scales (fp32) and its bias; the norms before attention and before
  // gate and up, of queries' and of keys' heads; and its pages of keys and of values.
  void (*few_rows_layers_room)(ct_dense_layers shape, const ct_tensor* tensors, ct_tensor* pointers, ct_tensor* workspace);
  ct_tensor (*few_rows_layers)(ct_dense_layers shape, ct_tensor pointers, ct_tensor workspace, ct_tensor input,
                               ct_tensor cosine, ct_tensor sine, ct_tensor pages, ct_tensor lengths, int32_t page_size);
  // Copies contiguous numbers of four bytes by a kernel, from or to a device; the other side may be pinned memory of the host.
  void (*transfer)(ct_tensor source, ct_tensor target);
  void (*embed)(ct_tensor tokens, ct_tensor weight, ct_tensor positions, ct_tensor frequencies, double magnitude,
                ct_tensor* hidden, ct_tensor* cosine, ct_tensor* sine);
  // As ct_sample.
  ct_tensor (*sample)(ct_tensor logits, ct_tensor temperatures, ct_tensor keys, ct_tensor is_greedy);
  // output = left right (+ bias) (+ output, if adds), of bf16, where an algorithm is known to be faster than libtorch's. Nothing
  // is done where none is: false.
  bool (*large_product)(ct_tensor left, ct_tensor right, ct_tensor bias, bool adds, ct_tensor output);
  // Of fp32 too. height 0: all numbers share a scale. for_blocks: in the form that products with scales of blocks take.
  void (*quantize)(ct_tensor matrix, int32_t height, int32_t width, bool for_blocks, ct_tensor* values, ct_tensor* scales);

  // Of training; shapes as in TrainingKernels.swift.
  // What the forward kernel gave is made again, into `product` and `normed`, unless they are NULL.
  ct_tensor (*silu_multiply_gradient)(ct_tensor both, ct_tensor gradient, ct_tensor* product);
  void (*add_norm_gradient)(ct_tensor sum, ct_tensor weight, double epsilon, ct_tensor by_normed, ct_tensor by_sum,
                            ct_tensor* by_input, ct_tensor* by_weight, ct_tensor* normed);
  // Fills `new_query`, `new_key` and `new_value`, which lie as far apart as queries and keys do; gives what the weights get.
  ct_tensor (*norm_rotate_gradient)(ct_tensor query, ct_tensor key, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                                    ct_tensor cosine, ct_tensor sine, ct_tensor by_turned_query, ct_tensor by_turned_key,
                                    ct_tensor by_value, ct_tensor new_query, ct_tensor new_key, ct_tensor new_value);
  // `temperatures`, or NULL: of each row.
  ct_tensor (*row_statistics)(ct_tensor logits, ct_tensor targets, double temperature, ct_tensor temperatures);
  void (*logits_gradient)(ct_tensor logits, ct_tensor targets, double temperature, ct_tensor log_sums, ct_tensor entropies,
                          ct_tensor by_log_prob, ct_tensor by_entropy);
  void (*add_rows)(ct_tensor rows, ct_tensor indices, ct_tensor places, ct_tensor sums);
  void (*adamw)(ct_tensor weights, ct_tensor remainders, ct_tensor first, ct_tensor second, ct_tensor gradients, ct_tensor low,
                ct_tensor step, double rate, double beta1, double beta2, double epsilon, double decay, double gradient_scale);
  // cuDNN's attention of [T, heads, dimension] in half precision.
  void (*cudnn_attention)(ct_tensor query, ct_tensor key, ct_tensor value, ct_attention_shape shape, ct_tensor* output,
                          ct_tensor* log_sum_exp);
  void (*cudnn_attention_gradient)(ct_tensor by_output, ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor output,
                                   ct_tensor log_sum_exp, ct_attention_shape shape, ct_tensor* by_query, ct_tensor* by_key,
                                   ct_tensor* by_value);

  // Memory of its own, outside libtorch's allocator, that other processes of this machine can open by its handle of 64
  // bytes. Whoever opened it closes it before its owner releases it.
  void* (*shared_memory)(int32_t device_index, size_t bytes, uint8_t* handle);
  void (*release_shared_memory)(int32_t device_index, void* memory);
  void* (*open_shared_memory)(int32_t device_index, const uint8_t* handle);
  void (*close_shared_memory)(int32_t device_index, void* memory);
  // A row of bytes of a device, not copied; `release` runs after its last use.
  ct_tensor (*from_device_memory)(void* memory, int64_t bytes, int32_t device_index, void (*release)(void*), void* context);

  // Addresses of a device, `bytes` rounded up to whole blocks, where memory is between `fill_region` and `empty_region`.
  void* (*reserve_region)(int32_t device_index, size_t* bytes);
  void (*fill_region)(int32_t device_index, void* start, size_t bytes);
  void (*empty_region)(int32_t device_index, void* start, size_t bytes);
  void (*release_region)(void* start, size_t bytes);

  // Host memory that devices copy from and to without a detour.
  void* (*pinned_memory)(size_t bytes);
  void (*release_pinned_memory)(void* memory);
} ct_cuda_functions;

// Opens CTorchCUDA at `path`; false with an error when it cannot be opened or belongs to another build.
CT_API bool ct_open_cuda_library(const char* path);
// The table, or NULL while the library is not open.
CT_API const ct_cuda_functions* ct_cuda(void);
