// Numbers in loops that the compiler makes vectors of.
#pragma once

#include <cstdint>
#include <cstring>

// The compiler makes each of them for several levels of processors; the loader takes the best that runs. (A name of a processor
// stands for that one alone.)
#if defined(__x86_64__) && defined(__linux__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
// What such a function calls becomes part of each of its copies. Vectors go by reference: by value they would be passed
// differently on each processor.
#define INLINE inline __attribute__((always_inline))

namespace ctorch {

inline float wide(float value) { return value; }
inline float wide(uint16_t bits) {
  uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

inline void narrow(float& to, float value) { to = value; }
/// To the nearest, of two to the even one. NaN stays one.
inline void narrow(uint16_t& bits, float value) {
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  bits = static_cast<uint16_t>(value == value ? (word + 0x7FFF + ((word >> 16) & 1)) >> 16 : 0x7FC0);
}

/// e to the x, for x at most 0, to some 1e-7 of it (Cephes' polynomial); where it is no normal number, next to nothing. NaN
/// for NaN.
inline float exponential(float x) {
  x = x < -87.f ? -87.f : x;
  float shifted = x * 1.44269504f + 12582912.f;
  float whole = shifted - 12582912.f;
  float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  float sum = 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.f;
  int32_t exponent = static_cast<int32_t>(whole == whole ? whole : 0.f) + 127;
  uint32_t word = static_cast<uint32_t>(exponent) << 23;
  float power;
  std::memcpy(&power, &word, sizeof power);
  return sum * power;
}

}  // namespace ctorch
