#!/usr/bin/env python3
"""Fetches the pinned libtorch and CUDA runtime wheels and unpacks what the build needs into .deps/.

Nothing half-valid is ever left under its final name: a download grows in a .part file (and continues there after a
kill), is checked against its hash, and a wheel counts as installed only when its marker is written, last.
SLIME_WHEELS names a folder of wheels to take instead of the network.
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
]
# The Python bindings; nothing of ours links them.
SKIPPED = ("torch/lib/libtorch_python.so", "torch/lib/libshm")

# The same files, whichever Python runs this.
TARGET = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
TARGET += [word for tag in ("2_28", "2_25", "2_17") for word in ("--platform", f"manylinux_{tag}_x86_64")]


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


def main():
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        fail(f"libtorch is pinned for Linux on x86-64 only; this is {platform.system()} on {platform.machine()}")
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    with open(DEPS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for requirement, wheel, digest, folders in WHEELS:
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
