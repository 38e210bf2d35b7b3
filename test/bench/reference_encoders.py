"""The encoders at their published sizes in the PyTorch reference: the seconds that `npm run bench -- fast` compares with.

Run by hand on the machine of the benchmark, in the same sitting:

    npm run bench -- fast --images 1,3 --folder DIR --keep       # makes the files
    pip install torch torchvision safetensors numpy transformers
    pip install --no-deps diffsynth                               # the reference
    python test/bench/reference_encoders.py DIR -o DIR/encoders.json
    npm run bench -- fast --images 1,3 --folder DIR --keep --reference DIR/encoders.json

An encoder is in memory in bf16 and sees one image at a time, as in the reference. Its seconds are the best of
`--repeats` images after a first one; opening its file is not counted.
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

FILES = {"siglip2": "siglip2-g384", "dinov3": "dinov3-7b"}


def open_encoder(name: str, path: Path):
    import torch
    from diffsynth.core.loader.model import load_model
    from diffsynth.models.dinov3_image_encoder import DINOv3ImageEncoder
    from diffsynth.models.siglip2_image_encoder import Siglip2ImageEncoder
    from diffsynth.utils.state_dict_converters.dino_v3 import DINOv3StateDictConverter

    encoder, converter = {"siglip2": (Siglip2ImageEncoder, None), "dinov3": (DINOv3ImageEncoder, DINOv3StateDictConverter)}[name]
    return load_model(encoder, str(path), torch_dtype=torch.bfloat16, device="cpu", state_dict_converter=converter)


def one_run(folder: Path, name: str, repeats: int) -> dict:
    import numpy
    import torch
    from PIL import Image

    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_grad_enabled(False)
    image = Image.fromarray(numpy.random.default_rng(1).integers(0, 256, (512, 512, 3), dtype=numpy.uint8))
    encoder = open_encoder(name, folder / FILES[name] / "model.safetensors").eval()
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        encoder(image, torch_dtype=torch.bfloat16, device="cpu")
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds[1:]), "first": seconds[0], "peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoder", choices=FILES, help="one encoder in this process, as JSON")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.encoder:
        print(json.dumps(one_run(options.folder, options.encoder, options.repeats)))
        return
    import torch

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    results = {}
    for name in FILES:
        command = [sys.executable, __file__, str(options.folder), "--encoder", name, "--repeats", str(options.repeats)]
        run = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        results[name] = run
        print(f"{name}: {run['seconds']:.2f} s an image, the first {run['first']:.2f} s, {run['peak bytes'] / 1e9:.2f} GB", flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
