// Pictures in memory become pixels. libvips, which brings its own decoders, is opened when the first one comes.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "internal.h"

using namespace ctorch;

namespace {

struct VipsImage;

// The part of libvips' C API (8.13 and later) that is used here, by its documentation.
struct Vips {
  int (*init)(const char* name);
  void (*block_untrusted)(int state);
  void (*set_cache)(int operations);
  void (*set_threads)(int threads);
  VipsImage* (*read)(const void* data, size_t count, const char* options, ...);
  int (*autorotate)(VipsImage* in, VipsImage** out, ...);
  int (*colourspace)(VipsImage* in, VipsImage** out, int space, ...);
  int (*cast_bytes)(VipsImage* in, VipsImage** out, ...);
  void* (*write)(VipsImage* in, size_t* size);
  int (*bands)(const VipsImage* image);
  int (*width)(const VipsImage* image);
  int (*height)(const VipsImage* image);
  int (*interpretation)(const VipsImage* image);
  const char* (*error)(void);
  void (*clear_error)(void);
  void (*unref)(void* object);
  void (*free)(void* memory);

  explicit Vips(const char* path) {
    // What a package manager installed does as well.
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libvips.so.42", RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library, "pictures are decoded by libvips, which is neither ", path,
                " nor installed; run Scripts/dependencies.py, or install libvips42");
    auto find = [&](auto& function, const char* name) {
      void* symbol = dlsym(library, name);
      TORCH_CHECK(symbol, "libvips has no ", name, "; 8.13 or later is needed");
      function = reinterpret_cast<std::decay_t<decltype(function)>>(symbol);
    };
    find(init, "vips_init");
    find(block_untrusted, "vips_block_untrusted_set");
    find(set_cache, "vips_cache_set_max");
    find(set_threads, "vips_concurrency_set");
    find(read, "vips_image_new_from_buffer");
    find(autorotate, "vips_autorot");
    find(colourspace, "vips_colourspace");
    find(cast_bytes, "vips_cast_uchar");
    find(write, "vips_image_write_to_memory");
    find(bands, "vips_image_get_bands");
    find(width, "vips_image_get_width");
    find(height, "vips_image_get_height");
    find(interpretation, "vips_image_guess_interpretation");
    find(error, "vips_error_buffer");
    find(clear_error, "vips_error_clear");
    find(unref, "g_object_unref");
    find(free, "g_free");
    // What is wrong with a picture is told to whoever sent it.
    setenv("VIPS_WARNING", "0", 0);
    TORCH_CHECK(init("slime") == 0, "libvips does not start: ", error());
    block_untrusted(1);
    // Results are kept by address of the bytes, which are freed.
    set_cache(0);
    set_threads(1);
  }

  static const Vips& shared(const char* path) {
    static std::mutex mutex;
    static const Vips* vips = nullptr;
    std::lock_guard<std::mutex> lock(mutex);
    if (!vips) vips = new Vips(path);
    return *vips;
  }
};

/// A colour of some opacity on white, rounded as Pillow's alpha_composite does.
uint8_t over_white(uint32_t colour, uint32_t opacity) {
  const uint32_t sum = (colour * opacity + 255 * (255 - opacity)) * 128 + (128 << 7);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

constexpr int kCMYK = 15, kSRGB = 22;

/// An image that is let go at the end, and replaced by what is made of it.
class Picture {
 public:
  /// Turned upright. The header alone is read until pixels are wanted.
  Picture(const Vips& vips, const void* data, size_t count, int64_t most_pixels)
      : vips_(vips), image_(vips.read(data, count, "[fail_on=truncated]", static_cast<void*>(nullptr))) {
    require(image_ != nullptr);
    try {
      const int64_t width = vips.width(image_), height = vips.height(image_);
      TORCH_CHECK(width * height <= most_pixels, "it has ", width, " × ", height, " pixels, more than ", most_pixels);
      TORCH_CHECK(vips.interpretation(image_) != kCMYK, "its colours are CMYK; save it as RGB");
      become(vips.autorotate);
    } catch (...) {
      vips.unref(image_);
      throw;
    }
  }
  ~Picture() { if (image_) vips_.unref(image_); }
  Picture(const Picture&) = delete;

  template <class Function, class... Arguments>
  void become(Function function, Arguments... arguments) {
    VipsImage* next = nullptr;
    require(function(image_, &next, arguments..., static_cast<void*>(nullptr)) == 0);
    vips_.unref(image_);
    image_ = next;
  }
  VipsImage* get() const { return image_; }

  void require(bool success) const {
    if (success) return;
    std::string message = vips_.error();
    vips_.clear_error();
    while (!message.empty() && message.back() == '\n') message.pop_back();
    TORCH_CHECK(false, message);
  }

 private:
  const Vips& vips_;
  VipsImage* image_;
};

}  // namespace

ct_tensor ct_decode_image(const char* library, const void* data, size_t count, int64_t most_pixels) {
  return guarded<>(ct_tensor{}, [&] {
    const Vips& vips = Vips::shared(library);
    Picture picture(vips, data, count, most_pixels);
    picture.become(vips.colourspace, kSRGB);
    picture.become(vips.cast_bytes);
    const int colours = vips.bands(picture.get());
    TORCH_CHECK(colours == 3 || colours == 4, "it has ", colours, " colours, not three");
    const int64_t width = vips.width(picture.get()), height = vips.height(picture.get());
    size_t bytes = 0;
    void* memory = vips.write(picture.get(), &bytes);
    picture.require(memory != nullptr);
    std::unique_ptr<void, void (*)(void*)> owner(memory, vips.free);
    TORCH_CHECK(bytes == static_cast<size_t>(width * height * colours), "libvips gave ", bytes, " bytes for ", width,
                " × ", height, " pixels");
    at::Tensor tensor = at::empty({height, width, 3}, at::kByte);
    auto* out = static_cast<uint8_t*>(tensor.mutable_data_ptr());
    const auto* in = static_cast<const uint8_t*>(memory);
    if (colours == 3) {
      std::memcpy(out, in, bytes);
    } else {
      for (int64_t i = 0; i < width * height; ++i) {
        for (int c = 0; c < 3; ++c) out[3 * i + c] = over_white(in[4 * i + c], in[4 * i + 3]);
      }
    }
    return give(tensor);
  });
}

bool ct_image_size(const char* library, const void* data, size_t count, int64_t most_pixels, int64_t* size) {
  return guarded<>(false, [&] {
    const Vips& vips = Vips::shared(library);
    Picture picture(vips, data, count, most_pixels);
    size[0] = vips.height(picture.get());
    size[1] = vips.width(picture.get());
    return true;
  });
}
