#!/usr/bin/env python3
"""Fetches the pinned libtorch and CUDA runtime wheels and unpacks what the build needs into .deps/.

Nothing half-valid is ever left under its final name: a download grows in a .part file (and continues there after a
kill), is checked against its hash, and a wheel counts as installed only when its marker is written, last.
SLIME_WHEELS names a folder of wheels to take instead of the network. CUDA's libraries (2 GB) come too where there is an
NVIDIA driver; SLIME_CUDA=1 or 0 decides otherwise.
"""
import fcntl
import hashlib
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

DEPS = Path(__file__).resolve().parent.parent / ".deps"
DOWNLOADS = DEPS / "downloads"

# (requirement, wheel, sha256, folders to unpack)
WHEELS = [
    ("torch==2.11.0", "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl",
     "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a", ["torch/lib/", "torch/include/"]),
    ("nvidia-cuda-runtime==13.0.96", "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", ["nvidia/cu13/"]),
    ("nvidia-cuda-cupti==13.0.85", "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
     "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8", ["nvidia/cu13/"]),
    # Decodes pictures; opened when the first one comes.
    ("pyvips-binary==8.18.7", "pyvips_binary-8.18.7-cp37-abi3-manylinux_2_28_x86_64.whl",
     "312046c567abd89ce577ccb0dda8c8cbd9f37d520d5246290cdf8e114e91fbfc", ["pyvips_binary.libs/"]),
]
# What libtorch_cuda needs where it runs, and the headers that Scripts/build_cuda.sh needs.
CUDA_WHEELS = [
    ("nvidia-cublas==13.1.0.3", "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl",
     "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", ["nvidia/"]),
    ("nvidia-cufft==12.0.0.61", "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3", ["nvidia/"]),
    ("nvidia-cufile==1.15.1.6", "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44", ["nvidia/"]),
    ("nvidia-curand==10.4.0.35", "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
     "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc", ["nvidia/"]),
    ("nvidia-cusolver==12.0.4.66", "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl",
     "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112", ["nvidia/"]),
    ("nvidia-cusparse==12.6.3.3", "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b", ["nvidia/"]),
    ("nvidia-nvjitlink==13.0.88", "nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
     "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b", ["nvidia/"]),
    ("nvidia-cuda-nvrtc==13.0.88", "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
     "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", ["nvidia/"]),
    ("nvidia-cudnn-cu13==9.19.0.56", "nvidia_cudnn_cu13-9.19.0.56-py3-none-manylinux_2_27_x86_64.whl",
     "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf", ["nvidia/"]),
    ("nvidia-cudnn-frontend==1.18.0",
     "nvidia_cudnn_frontend-1.18.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
     "382ea063b92cbfd5b442cb75ff8422932d78276aecf139e46713ed1ad3d07af4", ["include/"]),
    ("nvidia-cusparselt-cu13==0.8.0", "nvidia_cusparselt_cu13-0.8.0-py3-none-manylinux2014_x86_64.whl",
     "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd", ["nvidia/"]),
    ("nvidia-nccl-cu13==2.28.9", "nvidia_nccl_cu13-2.28.9-py3-none-manylinux_2_18_x86_64.whl",
     "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42", ["nvidia/"]),
    ("nvidia-nvshmem-cu13==3.4.5", "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80", ["nvidia/"]),
    ("nvidia-cuda-crt==13.0.88", "nvidia_cuda_crt-13.0.88-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4", ["nvidia/"]),
    ("nvidia-cuda-cccl==13.0.85", "nvidia_cuda_cccl-13.0.85-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
     "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649", ["nvidia/"]),
]
# The Python bindings; nothing of ours links them.
SKIPPED = ("torch/lib/libtorch_python.so", "torch/lib/libshm")

# The same files, whichever Python runs this.
TARGET = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
PLATFORMS = ("_2_28", "_2_27", "_2_25", "_2_18", "_2_17", "2014", "_2_12")
TARGET += [word for tag in PLATFORMS for word in ("--platform", f"manylinux{tag}_x86_64")]


def fail(message):
    sys.exit("slime: " + message)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pip(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], **options)


def url(requirement):
    """Where pip would download the wheel from; None with a pip too old to tell (before 22.2)."""
    report = pip("install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-", "--target", DOWNLOADS, *TARGET,
                 requirement, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        return json.loads(report.stdout)["install"][0]["download_info"]["url"]
    except (ValueError, LookupError):
        return None


def continue_download(source, part):
    """Downloads what is missing of `part`."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(source, headers={"Range": f"bytes={have}-"} if have else {})
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urllib.request.urlopen(request, timeout=60, context=context) as response:
        resumed = have > 0 and response.status == 206
        total = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
                if sys.stderr.isatty():
                    print(f"\r  {file.tell() >> 20} of {total >> 20} MiB", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def download(requirement, wheel, digest):
    part = DOWNLOADS / (wheel + ".part")
    if part.exists() and sha256(part) == digest:
        return part
    source = url(requirement)
    try:
        if source:
            continue_download(source, part)
            return part
    except OSError as error:  # also a refused range: pip's own download is the judge
        print(f"slime: {requirement}: {error}; trying pip download", file=sys.stderr)
    if pip("download", "--quiet", "--dest", DOWNLOADS / "pip", *TARGET, requirement).returncode != 0:
        fail(f"{requirement} could not be downloaded; run ./slime again to continue, "
             f"or set SLIME_WHEELS to a folder that holds {wheel}")
    os.replace(DOWNLOADS / "pip" / wheel, part)
    return part


def fetch(requirement, wheel, digest):
    """The wheel as a file whose hash is right."""
    offered = Path(os.environ.get("SLIME_WHEELS") or DOWNLOADS) / wheel
    if offered.exists():
        if sha256(offered) == digest:
            return offered
        fail(f"{offered} has not the pinned SHA-256 {digest}; delete it or replace it")
    if pip("--version", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        fail(f"pip, which downloads {requirement}, is missing: apt-get install -y python3-pip")
    print(f"slime: downloading {requirement}", file=sys.stderr)
    part = download(requirement, wheel, digest)
    if sha256(part) != digest:
        part.unlink()
        fail(f"the download of {requirement} has not the pinned SHA-256 {digest}; it was deleted: run ./slime again")
    return part.rename(DOWNLOADS / wheel)


def unpack(archive, folders):
    """Unpacks beside, then moves file by file, so that no final name ever holds half a file."""
    staging = DEPS / "unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    with zipfile.ZipFile(archive) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(tuple(folders)) and not name.startswith(SKIPPED)]
        wheel.extractall(staging, names)
    for name in names:
        if not name.endswith("/"):
            (DEPS / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, DEPS / name)
    shutil.rmtree(staging)


def wants_cuda():
    choice = os.environ.get("SLIME_CUDA")
    return choice != "0" if choice else Path("/proc/driver/nvidia/version").exists()


def main():
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        fail(f"libtorch is pinned for Linux on x86-64 only; this is {platform.system()} on {platform.machine()}")
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    with open(DEPS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for requirement, wheel, digest, folders in WHEELS + (CUDA_WHEELS if wants_cuda() else []):
            marker = DEPS / "installed" / requirement
            if marker.exists() and marker.read_text() == digest:
                continue
            archive = fetch(requirement, wheel, digest)
            print(f"slime: unpacking {requirement}", file=sys.stderr)
            unpack(archive, folders)
            marker.parent.mkdir(exist_ok=True)
            marker.write_text(digest)
            (DOWNLOADS / wheel).unlink(missing_ok=True)


main()
