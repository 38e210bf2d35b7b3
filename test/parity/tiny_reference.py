"""The reference's own classes at tiny sizes with random weights, and the files that hold them.

The encoders are DiffSynth's, which are transformers' SiglipVisionModel and DINOv3ViTModel with a
forward of their own; the decoder is DiffSynth's. Nothing here computes: it only builds.
"""

import json
import math
import os
import shutil
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
warnings.filterwarnings("ignore")

import torch
from safetensors.torch import save_file

from diffsynth.models.dinov3_image_encoder import DINOv3ImageEncoder
from diffsynth.models.qwen_image_image2lora import LoRATrainerBlock, QwenImageImage2LoRAModel
from diffsynth.models.siglip2_image_encoder import Siglip2ImageEncoder
from diffsynth.utils.state_dict_converters.dino_v3 import DINOv3StateDictConverter
from transformers import DINOv3ViTConfig, DINOv3ViTModel, SiglipVisionConfig, SiglipVisionModel

torch.set_num_threads(1)
torch.set_grad_enabled(False)

PATCH = 16
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


# --- random weights -------------------------------------------------------------------------


def generator(name: str) -> torch.Generator:
    """A stream of random numbers that depends on the case's name alone."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def randn(shape, rng):
    return torch.randn(shape, generator=rng, dtype=torch.float32)


def random_tensor(key: str, shape, rng):
    """Values that keep activations near 1 and leave no term of the network idle."""
    noise = randn(shape, rng)
    if key.endswith("lambda1"):
        return 0.3 + 0.6 * noise
    if "norm" in key.rsplit(".", 2)[-2]:
        return 1 + 0.3 * noise if key.endswith("weight") else 0.2 * noise
    if key.endswith("bias"):
        return 0.2 * noise
    if key.endswith(("probe", "token", "tokens")):
        return noise
    if "position_embedding" in key:
        return 0.5 * noise
    # query and key a little larger, or every softmax would be nearly flat
    gain = 1.5 if any(part in key for part in ("q_proj", "k_proj", "in_proj")) else 1.0
    return noise * gain / math.sqrt(math.prod(shape[1:]))


def random_weights(shapes: dict, dtype: str, name: str) -> dict:
    rng = generator(name)
    return {key: random_tensor(key, shape, rng).to(DTYPES[dtype]) for key, shape in shapes.items()}


def upcast(weights: dict) -> dict:
    return {key: value.float() for key, value in weights.items()}


# --- files ----------------------------------------------------------------------------------


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: dict) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)


def write_sharded(folder: Path, weights: dict) -> None:
    """Two shards, cut in the middle of a layer, and the index that names them."""
    keys = sorted(weights)
    total = sum(weights[key].nbytes for key in keys)
    names = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
    shards, filled = ({}, {}), 0
    for key in keys:
        shards[filled * 2 >= total][key] = weights[key]
        filled += weights[key].nbytes
    for name, shard in zip(names, shards):
        write_tensors(folder / name, shard)
    weight_map = {key: names[key in shards[1]] for key in keys}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_model(folder: Path, weights: dict, config: dict, sharded=False) -> None:
    write_json(folder / "config.json", config)
    if sharded:
        write_sharded(folder, weights)
    else:
        write_tensors(folder / "model.safetensors", weights)


# --- the encoders: DiffSynth's classes, with a small config in place of the published one ------


class TinySiglip2(Siglip2ImageEncoder):
    """The reference's encoder and its forward, at another size."""

    def __init__(self, config: dict, processor=None):
        SiglipVisionModel.__init__(self, SiglipVisionConfig(**config))
        self.processor = processor


class TinyDINOv3(DINOv3ImageEncoder):
    """The reference's encoder and its forward, at another size."""

    def __init__(self, config: dict, processor=None):
        DINOv3ViTModel.__init__(self, DINOv3ViTConfig(**config))
        self.processor = processor


def siglip2_config(depth, width, heads, intermediate, image_size, **changes) -> dict:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "image_size": image_size,
        "patch_size": PATCH,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        **changes,
    }


def dinov3_config(depth, width, heads, intermediate, image_size, **changes) -> dict:
    return {
        "model_type": "dinov3_vit",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "image_size": image_size,
        "patch_size": PATCH,
        "num_channels": 3,
        "num_register_tokens": 4,
        "rope_theta": 100.0,
        "hidden_act": "silu",
        "use_gated_mlp": True,
        "query_bias": False,
        "key_bias": False,
        "value_bias": False,
        "proj_bias": True,
        "mlp_bias": True,
        "layer_norm_eps": 1e-5,
        **changes,
    }


def published_processors():
    """The two processors as the reference sets them up, without the memory of its encoders."""
    with torch.device("meta"):
        return Siglip2ImageEncoder().processor, DINOv3ImageEncoder().processor


def make_siglip2(config: dict, dtype: str, name: str, processor=None):
    """The network and its weights, under the keys of the published file: they are the model's own."""
    model = TinySiglip2(config, processor).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = random_weights(shapes, dtype, name)
    model.load_state_dict(upcast(weights))
    return model, weights


def make_dinov3(config: dict, dtype: str, name: str, processor=None):
    """The published keys say `layer.0`, the model `model.layer.0`: the reference's converter maps them."""
    model = TinyDINOv3(config, processor).eval()
    shapes = {key.removeprefix("model."): tuple(value.shape) for key, value in model.state_dict().items()}
    weights = random_weights(shapes, dtype, name)
    model.load_state_dict(DINOv3StateDictConverter(upcast(weights)))
    return model, weights


# --- the decoder ----------------------------------------------------------------------------


def make_decoder(blocks: int, hidden: int, in_dim: int, compress: int, rank: int):
    """The reference's decoder without residual; its module table, 3072 wide, scaled down to `hidden`."""
    model = QwenImageImage2LoRAModel(num_blocks=0, use_residual=False, compress_dim=compress, rank=rank)
    for group in model.lora_patterns:
        scaled = [(module, a // 3072 * hidden, b // 3072 * hidden) for module, a, b in group]
        for block_id in range(blocks):
            model.blocks.append(
                LoRATrainerBlock(scaled, in_dim, compress, rank, block_id=block_id, use_residual=False)
            )
    return model.eval()
