// Declares the types that libtorch's headers mention; the library itself is not used here and its headers are not fetched.
#pragma once

enum cusolverStatus_t : int;
