// Compiles kernels for the GPU at hand, the first time that each is used on a machine: what was compiled is kept in the user's
// cache folder.
#include "kernel_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>

static const char* const common =
#include "kernels/common.cuh"
    ;

namespace {

// The few functions of NVRTC that are needed; the wheel's headers do not name them all on every machine.
struct Compiler {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const*);
  int (*destroy)(Program*);
  int (*size)(Program, size_t*);
  int (*code)(Program, char*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);

  static const Compiler& shared() {
    static const Compiler compiler;
    return compiler;
  }

 private:
  Compiler() {
    void* library = nullptr;
    for (const char* name : {"libnvrtc.so.13", "libnvrtc.so"})
      if (!library) library = dlopen(name, RTLD_NOW);
    TORCH_CHECK(library, "libnvrtc.so.13, which compiles the kernels, was not found: ", dlerror());
    auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      TORCH_CHECK(function, "libnvrtc has no function ", name);
    };
    find(create, "nvrtcCreateProgram");
    find(compile, "nvrtcCompileProgram");
    find(destroy, "nvrtcDestroyProgram");
    find(size, "nvrtcGetCUBINSize");
    find(code, "nvrtcGetCUBIN");
    find(log_size, "nvrtcGetProgramLogSize");
    find(log, "nvrtcGetProgramLog");
  }
};

/// Files of compiled kernels. Each begins with all that the kernel was made of, so that none is taken for another.
class Cache {
 public:
  explicit Cache(const std::string& made_of) : key_(made_of + '\0') {
    const char *folder = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (folder && *folder) path_ = std::filesystem::path(folder) / "slime" / "kernels";
    else if (home && *home) path_ = std::filesystem::path(home) / ".cache" / "slime" / "kernels";
    else return;
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (unsigned char byte : key_) hash = (hash ^ byte) * 0x100000001b3;
    path_ /= std::to_string(hash) + ".cubin";
  }

  /// Empty: there is none.
  std::string code() const {
    std::ifstream file(path_, std::ios::binary);
    std::string content{std::istreambuf_iterator<char>(file), {}};
    return content.compare(0, key_.size(), key_) == 0 ? content.substr(key_.size()) : "";
  }

  /// Without it the next process compiles again, so nothing is said of what goes wrong.
  void keep(const std::string& code) const {
    if (path_.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(path_.parent_path(), error);
    auto part = path_;
    part += "." + std::to_string(getpid());
    std::ofstream file(part, std::ios::binary);
    file << key_ << code;
    file.close();
    if (file) std::filesystem::rename(part, path_, error);
    else std::filesystem::remove(part, error);
  }

 private:
  std::string key_;
  std::filesystem::path path_;
};

/// - Parameter anew: what is kept was of no use.
std::string compiled(const std::string& source, const std::vector<std::string>& defines, bool anew) {
  cudaDeviceProp device;
  C10_CUDA_CHECK(cudaGetDeviceProperties(&device, c10::cuda::current_device()));
  std::vector<std::string> options = {
      "--gpu-architecture=sm_" + std::to_string(device.major * 10 + device.minor) + (device.major == 9 ? "a" : ""),
      "--std=c++17", "--fmad=true", "--device-as-default-execution-space"};
  options.insert(options.end(), defines.begin(), defines.end());
  std::string made_of = source;
  for (auto& option : options) made_of += " " + option;
  Cache cache(made_of);
  if (auto code = anew ? "" : cache.code(); !code.empty()) return code;
  const auto& compiler = Compiler::shared();
  std::vector<const char*> words;
  for (auto& option : options) words.push_back(option.c_str());
  Compiler::Program program;
  TORCH_CHECK(compiler.create(&program, source.c_str(), "kernels.cu", 0, nullptr, nullptr) == 0, "NVRTC made no program");
  auto status = compiler.compile(program, static_cast<int>(words.size()), words.data());
  if (status != 0) {
    size_t size = 0;
    compiler.log_size(program, &size);
    std::string log(size, ' ');
    compiler.log(program, log.data());
    compiler.destroy(&program);
    TORCH_CHECK(false, "a kernel could not be compiled: ", log);
  }
  size_t size = 0;
  compiler.size(program, &size);
  std::string code(size, '\0');
  compiler.code(program, code.data());
  compiler.destroy(&program);
  cache.keep(code);
  return code;
}

}  // namespace

namespace ctorch {

const void* kernel(const char* source, const char* name, const std::vector<std::string>& defines) {
  static std::mutex mutex;
  static std::map<std::string, cudaLibrary_t> libraries;
  static std::map<std::string, const void*> kernels;
  std::lock_guard lock(mutex);
  std::string program = std::to_string(reinterpret_cast<uintptr_t>(source));
  for (auto& define : defines) program += " " + define;
  auto& found = kernels[program + " " + name];
  if (found) return found;
  auto& library = libraries[program];
  if (!library) {
    auto load = [&](bool anew) {
      auto code = compiled(std::string(common) + source, defines, anew);
      return cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
    };
    if (load(false) != cudaSuccess) {
      cudaGetLastError();
      C10_CUDA_CHECK(load(true));
    }
  }
  cudaKernel_t handle;
  C10_CUDA_CHECK(cudaLibraryGetKernel(&handle, library, name));
  return found = handle;
}

}  // namespace ctorch
