// The operators of the benchmark, called from C++ as libtorch's own users call them.
#pragma once

#include <stdint.h>

// Runs operator number `index` `count` times and returns the nanoseconds that it took, or -1 when it failed.
#ifdef __cplusplus
extern "C"
#endif
    int64_t cb_nanoseconds(int32_t index, int64_t count);
