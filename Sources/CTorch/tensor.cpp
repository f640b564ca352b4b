// Tensors: handles, properties, factories, conversions.
#include <c10/core/GradMode.h>
#include <c10/core/StorageImpl.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "internal.h"

namespace ctorch {

static thread_local std::string error_message;
static thread_local bool error_waits = false;

void set_error(const char* message) noexcept {
  if (error_waits) return;
  try {
    error_message = message;
  } catch (...) {
    error_message.clear();
  }
  error_waits = true;
}

void refuse_undefined() { TORCH_CHECK(false, "the result of a failed operation was used"); }

ct_tensor_array give_array(std::vector<at::Tensor> list) {
  auto* data = static_cast<ct_tensor*>(std::malloc(sizeof(ct_tensor) * std::max<size_t>(list.size(), 1)));
  for (size_t i = 0; i < list.size(); ++i) data[i] = give_optional(std::move(list[i]));
  return {data, list.size()};
}

static at::Device device(int32_t type, int32_t index) {
  return {static_cast<at::DeviceType>(type), static_cast<at::DeviceIndex>(index)};
}

static at::TensorOptions tensor_options(ct_options options) {
  return at::TensorOptions()
      .dtype(static_cast<at::ScalarType>(options.dtype))
      .device(device(options.device_type, options.device_index));
}

static c10::List<std::optional<at::Tensor>> index_list(ct_tensors indices) {
  c10::List<std::optional<at::Tensor>> list;
  for (size_t i = 0; i < indices.count; ++i) list.push_back(optional(indices.data[i]));
  return list;
}

}  // namespace ctorch

using namespace ctorch;

char* ct_take_error(void) {
  if (!error_waits) return nullptr;
  error_waits = false;
  return strdup(error_message.c_str());
}

bool ct_has_error(void) { return error_waits; }
void ct_raise(const char* message) { set_error(message); }

static thread_local int32_t scope_depth = 0;
int32_t ct_scope_depth(void) { return scope_depth; }
void ct_scope_add(int32_t change) { scope_depth += change; }

ct_tensor ct_undefined(void) { return give(at::Tensor()); }
bool ct_is_defined(ct_tensor tensor) { return !is_undefined(tensor); }

void ct_free_array(ct_tensor* data) { std::free(data); }

ct_tensor ct_retain(ct_tensor tensor) { return give(*reinterpret_cast<at::Tensor*>(&tensor)); }

void ct_release(ct_tensor tensor) {
  c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>::reclaim(reinterpret_cast<at::TensorImpl*>(tensor));
}

int64_t ct_dim(ct_tensor tensor) {
  return guarded<>(int64_t{0}, [&] { return borrow(tensor).dim(); });
}

void ct_sizes(ct_tensor tensor, int64_t* out) {
  guarded([&] {
    auto sizes = borrow(tensor).sizes();
    std::copy(sizes.begin(), sizes.end(), out);
  });
}

void ct_strides(ct_tensor tensor, int64_t* out) {
  guarded([&] {
    auto strides = borrow(tensor).strides();
    std::copy(strides.begin(), strides.end(), out);
  });
}

int64_t ct_size(ct_tensor tensor, int64_t dimension) {
  return guarded<>(int64_t{1}, [&] { return borrow(tensor).size(dimension); });
}

int64_t ct_numel(ct_tensor tensor) {
  return guarded<>(int64_t{1}, [&] { return borrow(tensor).numel(); });
}

int32_t ct_dtype(ct_tensor tensor) {
  return guarded<>(int32_t{6}, [&] { return static_cast<int32_t>(borrow(tensor).scalar_type()); });
}

int32_t ct_device_type(ct_tensor tensor) {
  return guarded<>(int32_t{0}, [&] { return static_cast<int32_t>(borrow(tensor).device().type()); });
}

int32_t ct_device_index(ct_tensor tensor) {
  return guarded<>(int32_t{-1}, [&] { return static_cast<int32_t>(borrow(tensor).device().index()); });
}

bool ct_is_contiguous(ct_tensor tensor) {
  return guarded<>(false, [&] { return borrow(tensor).is_contiguous(); });
}

bool ct_shares_storage(ct_tensor a, ct_tensor b) {
  return guarded<>(false, [&] { return borrow(a).is_alias_of(borrow(b)); });
}

void* ct_data(ct_tensor tensor) {
  return guarded<>(static_cast<void*>(nullptr), [&] {
    auto& t = borrow(tensor);
    TORCH_CHECK(t.numel() == 0 || t.storage().data(), "a tensor of shape ", t.sizes(),
                " has no memory: it is on the meta device, or its storage was emptied");
    return t.data_ptr();
  });
}

char* ct_description(ct_tensor tensor) {
  if (is_undefined(tensor)) return strdup("[the result of a failed operation]");
  auto& t = borrow(tensor);
  std::ostringstream text;
  try {
    text << t;
  } catch (const std::exception&) {  // ATen prints not every type
    text.str("");
    text << "[" << t.options() << ", shape " << t.sizes() << "]";
  }
  return strdup(text.str().c_str());
}

double ct_item_double(ct_tensor tensor) {
  return guarded<>(0.0, [&] { return borrow(tensor).item().toDouble(); });
}

int64_t ct_item_int(ct_tensor tensor) {
  return guarded<>(int64_t{0}, [&] { return borrow(tensor).item().toLong(); });
}

ct_tensor ct_from_memory(void* data, ct_ints sizes, int32_t dtype, void (*release)(void*), void* context) {
  return guarded<>(ct_tensor{}, [&] {
    // The owner goes with the tensor, or with a failure to make one.
    std::shared_ptr<void> owner(context, release);
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
    return give(at::from_blob(data, ints(sizes), [owner](void*) {}, options));
  });
}

ct_tensor ct_to(ct_tensor tensor, int32_t dtype_code, int32_t device_type, int32_t device_index, bool copy,
                bool non_blocking) {
  return guarded<>(ct_tensor{}, [&] {
    auto& t = borrow(tensor);
    auto options = t.options();
    if (dtype_code >= 0) options = options.dtype(static_cast<at::ScalarType>(dtype_code));
    if (device_type >= 0) options = options.device(device(device_type, device_index));
    return give(t.to(options, non_blocking, copy));
  });
}

ct_tensor ct_contiguous(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(tensor).contiguous()); });
}

ct_tensor ct_clone(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(tensor).clone()); });
}

ct_tensor ct_pin_memory(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(tensor).pin_memory()); });
}

ct_tensor ct_index(ct_tensor tensor, ct_tensors indices) {
  return guarded<>(ct_tensor{}, [&] { return give(at::index(borrow(tensor), index_list(indices))); });
}

void ct_index_put(ct_tensor tensor, ct_tensors indices, ct_tensor values, bool accumulate) {
  guarded([&] { at::index_put_(borrow(tensor), index_list(indices), borrow(values), accumulate); });
}

size_t ct_storage_bytes(ct_tensor tensor) {
  return guarded<>(size_t{0}, [&] { return borrow(tensor).storage().nbytes(); });
}

bool ct_resize_storage(ct_tensor tensor, size_t bytes) {
  return guarded<>(false, [&] {
    auto storage = borrow(tensor).storage();
    TORCH_CHECK(storage.allocator(), "borrowed memory cannot be emptied or filled again");
    if (bytes == 0) {
      storage.set_data_ptr_noswap(storage.allocator()->allocate(0));
      storage.set_nbytes(0);
    } else {
      TORCH_CHECK(storage.nbytes() == 0, "only an emptied storage can be filled again");
      storage.set_data_ptr_noswap(storage.allocator()->allocate(bytes));
      storage.set_nbytes(bytes);
    }
    return true;
  });
}

size_t ct_storage_offset(ct_tensor tensor) {
  return guarded<>(size_t{0}, [&] {
    auto& t = borrow(tensor);
    return static_cast<size_t>(t.storage_offset()) * t.itemsize();
  });
}

void ct_move_storage(ct_tensor tensor, ct_tensor place) {
  guarded([&] {
    auto storage = borrow(tensor).storage();
    auto& home = borrow(place);
    auto bytes = static_cast<int64_t>(storage.nbytes());
    TORCH_CHECK(home.is_contiguous() && home.scalar_type() == at::kByte && home.numel() >= bytes && home.device() == storage.device(),
                "a storage of ", bytes, " bytes on ", storage.device(), " cannot move to ", home.numel(), " bytes on ",
                home.device());
    // One that was emptied takes all of it, as it is.
    if (bytes == 0) storage.set_nbytes(home.numel());
    home.view(-1).narrow(0, 0, bytes).copy_(at::empty({0}, home.options()).set_(storage, 0, {bytes}, {1}));
    storage.set_data_ptr_noswap(
        {home.data_ptr(), new at::Tensor(home), [](void* owner) { delete static_cast<at::Tensor*>(owner); }, home.device()});
  });
}

ct_tensor ct_empty(ct_ints sizes, ct_options options) {
  return guarded<>(ct_tensor{}, [&] { return give(at::empty(ints(sizes), tensor_options(options))); });
}

ct_tensor ct_empty_pinned(ct_ints sizes, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)).pinned_memory(true);
    return give(at::empty(ints(sizes), options));
  });
}

ct_tensor ct_full(ct_ints sizes, ct_scalar value, ct_options options) {
  return guarded<>(ct_tensor{}, [&] { return give(at::full(ints(sizes), scalar(value), tensor_options(options))); });
}

ct_tensor ct_arange(ct_scalar start, ct_scalar end, ct_scalar step, ct_options options) {
  return guarded<>(ct_tensor{}, [&] {
    return give(at::arange(scalar(start), scalar(end), scalar(step), tensor_options(options)));
  });
}

ct_tensor ct_rand(ct_ints sizes, ct_generator generator, ct_options options) {
  return guarded<>(ct_tensor{}, [&] {
    return give(at::rand(ints(sizes), optional(generator), tensor_options(options)));
  });
}

ct_tensor ct_randn(ct_ints sizes, ct_generator generator, ct_options options) {
  return guarded<>(ct_tensor{}, [&] {
    return give(at::randn(ints(sizes), optional(generator), tensor_options(options)));
  });
}

ct_tensor ct_randint(int64_t low, int64_t high, ct_ints sizes, ct_generator generator, ct_options options) {
  return guarded<>(ct_tensor{}, [&] {
    return give(at::randint(low, high, ints(sizes), optional(generator), tensor_options(options)));
  });
}

ct_tensor ct_randperm(int64_t count, ct_generator generator, ct_options options) {
  return guarded<>(ct_tensor{}, [&] {
    return give(at::randperm(count, optional(generator), tensor_options(options)));
  });
}
