"""Style at its published size in the PyTorch reference: the seconds that `npm run bench -- full` compares with.

Run by hand on the machine of the benchmark, in the same sitting:

    npm run bench -- full --only style --images 1,5,60 --folder DIR --keep   # makes the file and the embeddings
    pip install torch safetensors numpy
    pip install --no-deps diffsynth                                          # the reference
    python test/bench/reference_decode.py DIR --images 1,5,60 -o DIR/reference.json
    npm run bench -- full --only style --images 1,5,60 --folder DIR --keep --reference DIR/reference.json

Each mode is a way in which the reference can hold the expert's weights in bf16 on the CPU. Every figure is the
best of `--repeats` runs in a process of its own, from the file to the LoRA in memory: opening, decoding every
image, and merging; beside it what saving the LoRA takes. Python's own start and imports are not counted.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

STYLE = Path("qwen-image-i2l-style") / "model.safetensors"
CONFIG = {"compress_dim": 64, "use_residual": False}


def managed(offload: str, onload: str):
    """The reference's own management: where weights wait, and where they are once asked for."""
    import torch

    dtype = lambda place: "disk" if place == "disk" else torch.bfloat16
    places = {"offload": offload, "onload": onload, "preparing": onload, "computation": "cpu"}
    return {f"{name}_{what}": to(place) for name, place in places.items() for what, to in (("device", str), ("dtype", dtype))}


MODES = {
    "in memory": None,
    "offloaded to disk": ("disk", "disk"),
    "read once and kept": ("disk", "cpu"),
}


def import_all():
    """What the reference imports late is not what is measured."""
    from diffsynth.core.vram.layers import AutoWrappedLinear
    from diffsynth.core.loader.model import load_model
    from diffsynth.models.qwen_image_image2lora import QwenImageImage2LoRAModel

    return load_model, AutoWrappedLinear, QwenImageImage2LoRAModel


def open_model(path: Path, mode: str):
    import torch

    load_model, linear, model = import_all()
    options = {}
    if MODES[mode] is not None:
        # As diffsynth/configs/vram_management_module_maps.py has it for this model.
        options = {"module_map": {torch.nn.Linear: linear}, "vram_config": managed(*MODES[mode])}
    return load_model(model, str(path), config=CONFIG, torch_dtype=torch.bfloat16, device="cpu", **options)


def one_run(folder: Path, images: int, mode: str) -> dict:
    import torch
    from safetensors.torch import load_file, save_file
    from diffsynth.utils.lora.merge import merge_lora

    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_grad_enabled(False)
    rows = load_file(folder / f"embeddings-{images}.safetensors")
    x = [torch.cat([rows[f"image.{i}.siglip2"], rows[f"image.{i}.dinov3"]])[None].bfloat16() for i in range(images)]
    import_all()
    spent = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    model = open_model(folder / STYLE, mode)
    if MODES[mode] is not None:
        for module in model.modules():
            if hasattr(module, "onload"):
                module.onload()
    lora = merge_lora([model(x=row, residual=None) for row in x], alpha=1 / images)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    output = folder / "reference-out.safetensors"
    save_file({key: value.contiguous() for key, value in lora.items()}, output)
    saved = time.perf_counter() - started
    output.unlink()
    return {
        "seconds": seconds,
        "with saving": saved,
        "cpu seconds": after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime,
        "peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def in_own_process(folder: Path, images: int, mode: str) -> dict:
    command = [sys.executable, __file__, str(folder), "--images", str(images), "--mode", mode]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def best(folder: Path, images: int, mode: str, repeats: int) -> dict:
    return min((in_own_process(folder, images, mode) for _ in range(repeats)), key=lambda run: run["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", default="1,5")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mode", choices=MODES, help="one run of one mode, as JSON")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    counts = [int(count) for count in options.images.split(",")]
    if options.mode:
        print(json.dumps(one_run(options.folder, counts[0], options.mode)))
        return
    import torch

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    results = {}
    for images in counts:
        results[images] = {}
        for mode in MODES:
            run = results[images][mode] = best(options.folder, images, mode, options.repeats)
            load = os.getloadavg()[0]
            print(f"{images} images, {mode}: {run['seconds']:.2f} s, {run['with saving']:.2f} s with saving, {run['cpu seconds']:.1f} s of CPU, {run['peak bytes'] / 1e9:.2f} GB, load {load:.1f}", flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
