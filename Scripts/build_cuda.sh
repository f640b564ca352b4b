#!/usr/bin/env bash
# Builds CTorchCUDA, the library that the program opens where there is a GPU, into FOLDER (where the executable lies).
#   Scripts/build_cuda.sh FOLDER
# Needs what Scripts/dependencies.py fetches with SLIME_CUDA=1. No GPU and no CUDA compiler.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
folder=${1:?which folder?}
torch=$root/.deps/torch
library=$folder/libCTorchCUDA.so
cuda=$root/.deps/nvidia/cu13/include
nccl=$root/.deps/nvidia/nccl/include
cudnn=$root/.deps/nvidia/cudnn/include
frontend=$root/.deps/include
compiler=${CXX:-$(command -v g++ || command -v clang++ || true)}

fail() { echo "build_cuda: $*" >&2; exit 1; }
[[ -n $compiler ]] || fail "a C++ compiler is missing: apt-get install -y g++"
[[ -f $torch/lib/libtorch_cuda.so ]] || fail "$torch/lib/libtorch_cuda.so is missing: run SLIME_CUDA=1 ./slime build"
for header in "$nccl/nccl.h" "$cudnn/cudnn.h" "$frontend/cudnn_frontend.h"; do
  [[ -f $header ]] || fail "$header is missing: run SLIME_CUDA=1 ./slime build"
done

sources=("$root"/Sources/CTorchCUDA/*.cpp)
headers=("$root"/Sources/CTorchCUDA/*.h "$root"/Sources/CTorchCUDA/kernels/*.cuh "$root"/Sources/CTorch/*.h "$root"/Sources/CTorch/include/*.h)
newer=$(find "${sources[@]}" "${headers[@]}" "${BASH_SOURCE[0]}" -newer "$library" 2>/dev/null || echo "no library yet")
if [[ -f $library && -z $newer ]]; then exit; fi

objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for source in "${sources[@]}"; do
  "$compiler" -std=c++20 -O2 -fPIC -fvisibility=hidden -w -DUSE_C10D_NCCL -DUSE_DISTRIBUTED -c "$source" \
    -o "$objects/$(basename "$source").o" -I"$torch/include" -I"$torch/include/torch/csrc/api/include" \
    -I"$cuda" -I"$cuda/cccl" -I"$nccl" -I"$cudnn" -I"$frontend"
done
# What is undefined here (NCCL, the CUDA runtime) libtorch_cuda brings along.
mkdir -p "$folder"
"$compiler" -shared -o "$objects/library" "$objects"/*.o -L"$torch/lib" -ltorch_cuda -lc10_cuda -ltorch_cpu -lc10
mv "$objects/library" "$library"
