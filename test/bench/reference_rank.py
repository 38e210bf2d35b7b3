"""Rank reset against the reference's reset_rank, on the same file in one run: times and errors.

Run by hand on a quiet machine; the reference takes minutes at the published sizes:

    npm run bench -- rank --folder DIR --keep      # makes LoRAs of Qwen-Image, 720 modules
    pip install torch safetensors numpy
    pip install --no-deps diffsynth                # the reference
    python test/bench/reference_rank.py DIR/qwen-image-rank-20.safetensors --rank 16

Both run on the CPU and write bf16. The errors are of all modules together, ||dW - dW'|| / ||dW||, in
float64, from thin QR of the factors side by side; the optimum is from their SVD (Eckart and Young).
"""

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from diffsynth.utils.lora.reset_rank import reset_lora_rank

COMMAND = Path(__file__).resolve().parents[2] / "build" / "i2l.mjs"


def ours(file: Path, rank: int, output: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["node", COMMAND, "rank", file, "--rank", str(rank), "-o", output, "--quiet"], check=True)
    return time.perf_counter() - started


def reference(file: Path, rank: int, output: Path, limit: int) -> tuple[float, int]:
    """@returns seconds, and the modules that it was given: all, or the first `limit`."""
    started = time.perf_counter()
    lora = load_file(file)
    keys = [key for key in lora if ".lora_A." in key][:limit]
    lora = {key: lora[key] for a in keys for key in (a, a.replace(".lora_A.", ".lora_B."))}
    save_file(reset_lora_rank(lora, rank), output)
    return time.perf_counter() - started, len(keys)


def factors(lora: dict, key: str):
    return lora[key].double(), lora[key.replace(".lora_A.", ".lora_B.")].double()


def core(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The singular values' matrix of b @ a."""
    return torch.linalg.qr(b).R @ torch.linalg.qr(a.T).R.T


def errors(old: Path, others: list[Path], rank: int, keys: list[str]):
    """@returns the relative error of each of `others`, and the least there is."""
    lora, resets = load_file(old), [load_file(other) for other in others]
    whole, least, lost = 0.0, 0.0, [0.0] * len(others)
    for key in keys:
        a, b = factors(lora, key)
        squares = torch.linalg.svdvals(core(a, b)) ** 2
        whole += squares.sum().item()
        least += squares[rank:].sum().item()
        for i, reset in enumerate(resets):
            x, y = factors(reset, key)
            lost[i] += torch.linalg.norm(core(torch.cat([a, x]), torch.cat([b, -y], dim=1))).item() ** 2
    return [math.sqrt(each / whole) for each in lost], math.sqrt(least / whole)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--modules", type=int, default=10**9, help="only so many for the reference, which is slow")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "ours.safetensors", Path(folder) / "reference.safetensors"
        own = min(ours(options.file, options.rank, one) for _ in range(3))
        theirs, modules = reference(options.file, options.rank, other, options.modules)
        keys = [key for key in load_file(other) if ".lora_A." in key]
        (our_error, their_error), least = errors(options.file, [one, other], options.rank, keys)
    total = sum(".lora_A." in key for key in load_file(options.file))
    result = {
        "seconds": {"ours": own, "reference": theirs, "modules of the reference": modules, "all modules": total},
        "times as fast": theirs / own * total / modules,
        "error": {"ours": our_error, "reference": their_error, "least": least},
        "error above the least": {"ours": our_error / least - 1, "reference": their_error / least - 1} if least else None,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
