// The C ABI over libtorch. Opaque handles in, opaque handles out, no decisions.
//
// Errors: a function that fails returns NULL (handles), false (bool) or leaves its result empty, and keeps the message
// for the calling thread: `ct_take_error` hands it over. No C++ exception ever leaves this library.
// Handles: a ct_tensor is one reference to a tensor; whoever gets one from a function here must release it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CT_API extern "C" __attribute__((visibility("default")))
#else
#define CT_API
#endif

typedef struct ct_tensor_impl* ct_tensor;
typedef struct ct_generator_impl* ct_generator;

// A number as ATen's Scalar keeps it: integer or floating-point.
typedef struct {
  double floating;
  int64_t integer;
  bool is_integer;
} ct_scalar;

typedef struct {
  int64_t value;
  bool exists;
} ct_optional_int;

typedef struct {
  double value;
  bool exists;
} ct_optional_double;

typedef struct {
  ct_scalar value;
  bool exists;
} ct_optional_scalar;

// A list of integers; data NULL is "no list" where the operator takes one optionally.
typedef struct {
  const int64_t* data;
  size_t count;
} ct_ints;

typedef struct {
  const ct_tensor* data;
  size_t count;
} ct_tensors;

// A list of tensors made here. The receiver owns each tensor; `ct_free_array` frees the array itself.
typedef struct {
  ct_tensor* data;
  size_t count;
} ct_tensor_array;

// The message of the calling thread's first error since the last call, or NULL. Free it with `free`.
CT_API char* ct_take_error(void);
CT_API bool ct_has_error(void);
// Keeps `message` as the thread's error unless an earlier one waits.
CT_API void ct_raise(const char* message);
// How many error scopes the calling thread is in; `ct_scope_add` enters (+1) or leaves (-1) one.
CT_API int32_t ct_scope_depth(void);
CT_API void ct_scope_add(int32_t change);
// The tensor that stands for the result of a failed operation.
CT_API ct_tensor ct_undefined(void);
CT_API bool ct_is_defined(ct_tensor tensor);
CT_API void ct_free_array(ct_tensor* data);

// MARK: Tensors
CT_API ct_tensor ct_retain(ct_tensor tensor);
CT_API void ct_release(ct_tensor tensor);
CT_API int64_t ct_dim(ct_tensor tensor);
CT_API void ct_sizes(ct_tensor tensor, int64_t* out);
CT_API void ct_strides(ct_tensor tensor, int64_t* out);
CT_API int64_t ct_size(ct_tensor tensor, int64_t dimension);
CT_API int64_t ct_numel(ct_tensor tensor);
CT_API int32_t ct_dtype(ct_tensor tensor);
CT_API int32_t ct_device_type(ct_tensor tensor);
CT_API int32_t ct_device_index(ct_tensor tensor);
CT_API bool ct_is_contiguous(ct_tensor tensor);
CT_API bool ct_shares_storage(ct_tensor a, ct_tensor b);
CT_API void* ct_data(ct_tensor tensor);
CT_API char* ct_description(ct_tensor tensor);
CT_API double ct_item_double(ct_tensor tensor);
CT_API int64_t ct_item_int(ct_tensor tensor);

// Memory that someone else owns, seen as a tensor; `release(context)` runs when its last user is gone.
CT_API ct_tensor ct_from_memory(void* data, ct_ints sizes, int32_t dtype, void (*release)(void*), void* context);
CT_API ct_tensor ct_to(ct_tensor tensor, int32_t dtype, int32_t device_type, int32_t device_index, bool copy,
                       bool non_blocking);
CT_API ct_tensor ct_contiguous(ct_tensor tensor);
CT_API ct_tensor ct_clone(ct_tensor tensor);
CT_API ct_tensor ct_pin_memory(ct_tensor tensor);
CT_API ct_tensor ct_index(ct_tensor tensor, ct_tensors indices);
CT_API void ct_index_put(ct_tensor tensor, ct_tensors indices, ct_tensor values, bool accumulate);
// input · weightᵀ in products of `tile_rows` rows (and on a CPU `tile_columns` columns) each, on one thread each, without
// gradients: a row of the result depends on that row of the input and on the weight alone.
CT_API ct_tensor ct_linear_by_tiles(ct_tensor input, ct_tensor weight, int64_t tile_rows, int64_t tile_columns);
// left[i] · right[index[i]] for all i, each computed by itself likewise. [n, a, b], [m, b, c], int64 [n] → [n, a, c]
CT_API ct_tensor ct_products(ct_tensor left, ct_tensor right, ct_tensor index);
// A copy of a weight in the layout of oneDNN, for `ct_packed_linear` alone; NULL without error where this CPU, the weight's type
// or libtorch has none. [outputs, inputs]
CT_API ct_tensor ct_packed(ct_tensor weight);
// input · weightᵀ + bias (NULL: none), without gradients. float32, [rows, inputs] → [rows, outputs]
CT_API ct_tensor ct_packed_linear(ct_tensor input, ct_tensor packed, ct_tensor bias);
// How often operators have written to a tensor's memory, through it, its views or what was detached from it.
CT_API int64_t ct_change_count(ct_tensor tensor);
// Chooses a column of each row of logits (on the CPU, float32 or bfloat16) by the largest of logit / temperature + Gumbel
// noise, or without noise where it is greedy; the first of equal ones. int64 [2, rows]: the columns, and as halves of a number,
// the lower one first, their scores, NaN in rows with what is no number, and their log-probabilities over the temperature.
CT_API ct_tensor ct_sample(ct_tensor logits, ct_tensor temperatures, ct_tensor keys, ct_tensor is_greedy);
// Attention of one query a row over the pages of its context, on the CPU, without gradients. float32 or bfloat16 query
// [rows, heads, d], keys [slots, key-value heads, d] and values [slots, key-value heads, dv], all of one type, d and dv
// multiples of 8; int32 pages [rows, n], lengths [rows] of the contexts (0: zeros) and order [rows] in which rows are begun.
// window: tokens that a query sees, the last ones (0: all). soft_cap: a score s becomes soft_cap · tanh(s / soft_cap) (0: it
// stays). sinks (NULL: none): float32 [heads], one more score for each head, without a value. → [rows, heads, dv]
CT_API ct_tensor ct_page_attention(ct_tensor query, ct_tensor keys, ct_tensor values, ct_tensor pages, ct_tensor lengths,
                                   ct_tensor order, ct_tensor sinks, double scale, double soft_cap, int64_t window,
                                   int64_t page_size);
// As in ctorch_cuda.h, on the CPU in float32 and without gradients.
CT_API void ct_add_norm(ct_tensor input, ct_tensor delta, ct_tensor weight, double epsilon, ct_tensor *sum, ct_tensor *normed);
CT_API ct_tensor ct_silu_multiply(ct_tensor both);
CT_API void ct_norm_rotate(ct_tensor query, ct_tensor key, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                           ct_tensor cosine, ct_tensor sine, ct_tensor *new_query, ct_tensor *new_key);
CT_API size_t ct_storage_bytes(ct_tensor tensor);
CT_API bool ct_resize_storage(ct_tensor tensor, size_t bytes);
// Where in its storage a tensor begins, in bytes.
CT_API size_t ct_storage_offset(ct_tensor tensor);
// Moves the storage of a tensor and all its views, with what it holds, into the memory of `place`: bytes on the same device.
CT_API void ct_move_storage(ct_tensor tensor, ct_tensor place);

// MARK: Factories
typedef struct {
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
} ct_options;
CT_API ct_tensor ct_empty(ct_ints sizes, ct_options options);
// On the host, where a GPU copies from and to without a detour.
CT_API ct_tensor ct_empty_pinned(ct_ints sizes, int32_t dtype);
CT_API ct_tensor ct_full(ct_ints sizes, ct_scalar value, ct_options options);
CT_API ct_tensor ct_arange(ct_scalar start, ct_scalar end, ct_scalar step, ct_options options);
CT_API ct_tensor ct_rand(ct_ints sizes, ct_generator generator, ct_options options);
CT_API ct_tensor ct_randn(ct_ints sizes, ct_generator generator, ct_options options);
CT_API ct_tensor ct_randint(int64_t low, int64_t high, ct_ints sizes, ct_generator generator, ct_options options);
CT_API ct_tensor ct_randperm(int64_t count, ct_generator generator, ct_options options);

// MARK: Random generators
CT_API ct_generator ct_generator_new(int32_t device_type, int32_t device_index, uint64_t seed);
CT_API void ct_generator_release(ct_generator generator);
CT_API ct_tensor ct_generator_state(ct_generator generator);
CT_API void ct_generator_set_state(ct_generator generator, ct_tensor state);

// MARK: Autograd
CT_API bool ct_grad_enabled(void);
CT_API void ct_set_grad_enabled(bool enabled);
CT_API bool ct_requires_grad(ct_tensor tensor);
CT_API void ct_set_requires_grad(ct_tensor tensor, bool requires_grad);
CT_API bool ct_is_leaf(ct_tensor tensor);
CT_API ct_tensor ct_grad(ct_tensor tensor);  // NULL without error when there is none
CT_API void ct_set_grad(ct_tensor tensor, ct_tensor grad);
CT_API ct_tensor ct_detach(ct_tensor tensor);
// The same memory with a version counter of its own: writing through it is invisible to autograd's checks.
CT_API ct_tensor ct_variable_data(ct_tensor tensor);
CT_API void ct_set_data(ct_tensor tensor, ct_tensor data);
CT_API void ct_backward(ct_tensors outputs, ct_tensors gradients, bool retain_graph, bool create_graph,
                        ct_tensors inputs);
// Gradients of `outputs` by `inputs`, one a input; NULL where unused and `allow_unused`.
CT_API ct_tensor_array ct_gradients(ct_tensors outputs, ct_tensors inputs, ct_tensors gradients, bool retain_graph,
                                    bool create_graph, bool allow_unused);

// A closure of the caller's: `call` runs it, `release` frees its context once.
// `call` gets borrowed tensors (NULL: undefined), fills `results` with owned ones (NULL: none), and returns NULL, or
// an error message that was allocated with malloc.
typedef struct {
  void* context;
  char* (*call)(void* context, const ct_tensor* inputs, size_t input_count, ct_tensor* results, size_t result_count);
  void (*release)(void* context);
} ct_closure;

// Makes `outputs` (fresh tensors, computed with gradients off) depend on `inputs` through `backward`: it maps the
// gradients of the outputs to those of the inputs. Does nothing but free the closure when no input needs gradients.
CT_API void ct_attach_backward(ct_tensors inputs, ct_tensors outputs, const char* name, ct_closure backward);
// Runs when the gradient of `tensor` is known; one result: the gradient to go on with, or NULL to keep it.
CT_API void ct_register_hook(ct_tensor tensor, ct_closure hook);
// Runs after the gradient of a leaf was accumulated; gets the leaf.
CT_API void ct_register_post_accumulate_hook(ct_tensor leaf, ct_closure hook);

// MARK: Runtime
CT_API const char* ct_version(void);
CT_API void ct_set_num_threads(int32_t threads);
CT_API int32_t ct_num_threads(void);
CT_API bool ct_has_cuda(void);
// Opens libtorch_cuda at `path` for the whole process.
CT_API bool ct_load_library(const char* path);
// Where the linked libtorch_cpu lies.
CT_API const char* ct_library_path(void);
CT_API int32_t ct_cuda_device_count(void);
CT_API void ct_cuda_synchronize(int32_t device_index);
CT_API void ct_set_deterministic(bool deterministic);
CT_API void ct_cuda_set_device(int32_t device_index);

// MARK: Pictures
// PNG, JPEG or WebP in memory, turned as its EXIF data say → [height, width, 3], bytes of RGB. `library` is where libvips
// lies; one that is installed does too. A picture of more than `most_pixels` is refused unread.
CT_API ct_tensor ct_decode_image(const char* library, const void* data, size_t count, int64_t most_pixels);
// Its height and width, by its header alone.
CT_API bool ct_image_size(const char* library, const void* data, size_t count, int64_t most_pixels, int64_t* size);

// MARK: Runs on the meta device, counted
typedef struct ct_account_impl* ct_account;
CT_API ct_account ct_account_new(void);
CT_API void ct_account_release(ct_account account);
// From now on the calling thread's meta tensors and operations count in `account`; NULL: in none.
CT_API void ct_account_enter(ct_account account);
// Bytes that live tensors would take, the most there have been, and all that were ever asked for.
CT_API int64_t ct_account_held(ct_account account);
CT_API int64_t ct_account_peak(ct_account account);
CT_API int64_t ct_account_allocated(ct_account account);
// Of host memory: how much more is taken than at the start, and the most that was.
CT_API int64_t ct_account_host_held(ct_account account);
CT_API int64_t ct_account_host_peak(ct_account account);
CT_API void ct_account_reset_peak(ct_account account);
// Floating-point operations of matrix products and attention.
CT_API double ct_account_operations(ct_account account);

// MARK: Process groups
typedef struct ct_store_impl* ct_store;
typedef struct ct_group_impl* ct_group;
typedef struct ct_work_impl* ct_work;

CT_API ct_store ct_tcp_store(const char* host, uint16_t port, bool is_server, int32_t workers, int64_t timeout_ms);
CT_API uint16_t ct_tcp_store_port(ct_store store);
CT_API ct_store ct_hash_store(void);
CT_API ct_store ct_file_store(const char* path, int32_t workers);
CT_API ct_store ct_prefix_store(const char* prefix, ct_store store);
CT_API void ct_store_set(ct_store store, const char* key, const char* value);
CT_API char* ct_store_get(ct_store store, const char* key, int64_t timeout_ms);
CT_API void ct_store_release(ct_store store);

/// c10d's flight recorder looks groups up in a map without its lock, so that ranks that are threads of one process corrupt
/// it, and it takes a stack trace for every collective. Turned off before the first group, unless somebody asked for it.
CT_API void ct_turn_flight_recorder_off(void);
CT_API ct_group ct_gloo_group(ct_store store, int32_t rank, int32_t size, const char* host, int64_t timeout_ms);
CT_API void ct_group_release(ct_group group);
// Ends what the group is at, also where other ranks are gone; it is of no use afterwards.
CT_API void ct_group_abort(ct_group group);
// Reductions: 0 sum, 1 average, 2 product, 3 minimum, 4 maximum (c10d's numbers). Each returns NULL on error.
CT_API ct_work ct_all_reduce(ct_group group, ct_tensor tensor, int32_t reduction, int64_t timeout_ms);
CT_API ct_work ct_all_gather(ct_group group, ct_tensor output, ct_tensor input, int64_t timeout_ms);
CT_API ct_work ct_reduce_scatter(ct_group group, ct_tensor output, ct_tensor input, int32_t reduction,
                                 int64_t timeout_ms);
CT_API ct_work ct_all_to_all(ct_group group, ct_tensor output, ct_tensor input, ct_ints output_splits,
                             ct_ints input_splits, int64_t timeout_ms);
CT_API ct_work ct_broadcast(ct_group group, ct_tensor tensor, int32_t root, int64_t timeout_ms);
CT_API ct_work ct_send(ct_group group, ct_tensor tensor, int32_t destination, int32_t tag);
CT_API ct_work ct_receive(ct_group group, ct_tensor tensor, int32_t source, int32_t tag);
CT_API ct_work ct_barrier(ct_group group, int64_t timeout_ms);
CT_API bool ct_work_wait(ct_work work, int64_t timeout_ms);
CT_API bool ct_work_is_completed(ct_work work);
// As the last one, with an error where it failed.
CT_API bool ct_work_is_done(ct_work work);
CT_API void ct_work_release(ct_work work);

#include "ctorch_cuda.h"
#include "ctorch_operators.h"
