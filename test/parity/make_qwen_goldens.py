"""Make the goldens of Qwen2.5-VL: what transformers' model answers for tiny random networks.

Run by hand, never by CI; README.md says how, and lists the versions that made the committed files:

    python test/parity/make_qwen_goldens.py              # all, or: make_qwen_goldens.py qwen25vl preprocess

The network is DiffSynth's QwenImageTextEncoder (transformers' Qwen2_5_VLModel) at tiny sizes; weights,
names and files are as in make_goldens.py. Two things are ours:

- The prompt is the reference's, with its token ids numbered anew from 0: so the token table has a few
  dozen rows and not 152064. prompt.json holds the ids.
- transformers 5 gives the picture's tokens their rows and columns only where it is told which tokens are
  the picture's (mm_token_type_ids); DiffSynth, written for transformers 4, doesn't tell it. The published
  experts were made with the rows and columns, so they are asked for here.
"""

import sys
from pathlib import Path

import photographs
import torch
from make_goldens import open_upright
from tiny_reference import DTYPES, fresh, generator, randn, random_weights, upcast, write_json, write_model, write_tensors

from diffsynth.core.data.operators import ImageCropAndResize
from diffsynth.models.qwen_image_text_encoder import QwenImageTextEncoder
from diffsynth.utils.state_dict_converters.qwen_image_text_encoder import QwenImageTextEncoderStateDictConverter
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel, Qwen2VLImageProcessor

GOLDENS = Path(__file__).resolve().parent / "goldens"
DROPPED = 64
IMAGE_PAD = 151655

# The prompt of Image2LoRAEncode as a Qwen tokenizer gives it; test/unit/qwen-prompt.test.ts proves it.
PROMPT = [
    151644, 8948, 198, 74785, 279, 1376, 4419, 315, 279, 1946, 2168, 320, 3423, 11, 6083, 11, 1379, 11, 10434, 11, 6171, 11,
    4004, 701, 1221, 10339, 1246, 279, 1196, 594, 1467, 7600, 1265, 11596, 476, 5602, 279, 2168, 13, 19813, 264, 501, 2168,
    429, 20027, 279, 1196, 594, 8502, 1393, 20337, 28137, 448, 279, 4024, 1946, 1380, 8311, 13, 151645, 198, 151644, 872, 198,
    151652, IMAGE_PAD, 151653, 151645, 198, 151644, 77091, 198,
]  # fmt: skip

# name, file dtype, sides by name, images, sizes
CASES = [
    ("f32-one-image", "F32", {"low": 56}, 1, {}),
    ("bf16-low-and-high", "BF16", {"low": 32, "high": 72}, 2,
     {"patch": 4, "window": 32, "vision_layers": 3, "full": [1], "layers": 3}),
    ("f16-five-images", "F16", {"high": 20}, 5,
     {"patch": 2, "window": 16, "vision_layers": 2, "full": [], "heads": 2, "kv_heads": 2, "sections": [1, 4, 7],
      "epsilon": 1e-2, "theta": 100.0}),
    ("f32-sharded", "F32", {"low": 12, "high": 44}, 1,
     {"patch": 2, "window": 20, "vision_layers": 2, "full": [0, 1], "kv_heads": 1}),
]  # fmt: skip


class TinyQwen(QwenImageTextEncoder):
    """The reference's encoder and its forward, at another size."""

    def __init__(self, config: dict):
        torch.nn.Module.__init__(self)
        self.config = Qwen2_5_VLConfig(**config)
        self.model = Qwen2_5_VLModel(self.config)
        self.lm_head = torch.nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)


def qwen_config(vocabulary, image_id, patch=14, window=112, vision_layers=2, full=(1,), layers=2, heads=4, kv_heads=2,
                sections=(2, 1, 3), epsilon=1e-6, theta=1e6) -> dict:  # fmt: skip
    """As the published text_encoder/config.json: the decoder's sizes are there twice."""
    text = {
        "hidden_size": 2 * sum(sections) * heads,
        "intermediate_size": 72,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": epsilon,
        "rope_scaling": {"mrope_section": list(sections), "rope_type": "default", "type": "default"},
        "rope_theta": theta,
        "hidden_act": "silu",
        "use_sliding_window": False,
        "vocab_size": vocabulary,
    }
    vision = {
        "depth": vision_layers,
        "fullatt_block_indexes": list(full),
        "hidden_act": "silu",
        "hidden_size": 32,
        "in_channels": 3,
        "in_chans": 3,
        "intermediate_size": 52,
        "num_heads": 2,
        "out_hidden_size": text["hidden_size"],
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": window,
    }
    text_config = {**text, "model_type": "qwen2_5_vl_text"}
    return {**text, "model_type": "qwen2_5_vl", "image_token_id": image_id, "text_config": text_config, "vision_config": vision}


def make_qwen(config: dict, dtype: str, name: str):
    """The published keys say `visual.` and `model.layers`: the reference's converter maps them."""
    model = TinyQwen(config).eval()

    def published(key: str) -> str:
        return key.removeprefix("model.") if key.startswith("model.visual.") else key.replace("model.language_model.", "model.")

    shapes = {published(key): tuple(value.shape) for key, value in model.state_dict().items()}
    weights = random_weights(shapes, dtype, name)
    model.load_state_dict(QwenImageTextEncoderStateDictConverter(upcast(weights)))
    return model, weights


def encode(model: TinyQwen, prompt: dict, patches: torch.Tensor, grid: int) -> torch.Tensor:
    """Hidden states of one picture's prompt from token 64 on, as the reference's encode_prompt_edit takes them."""
    ids = prompt["before"] + [prompt["image"]] * (grid * grid) + prompt["after"]
    input_ids = torch.tensor([ids])
    hidden = model(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        pixel_values=patches,
        image_grid_thw=torch.tensor([[1, 2 * grid, 2 * grid]]),
        mm_token_type_ids=(input_ids == prompt["image"]).int(),
    )[-1]
    return hidden[0, DROPPED:]


def case(name: str, dtype: str, sides: dict, images: int, changes: dict) -> None:
    number = {token: i for i, token in enumerate(sorted(set(PROMPT)))}
    ids, at = [number[token] for token in PROMPT], PROMPT.index(IMAGE_PAD)
    prompt = {"before": ids[:at], "image": ids[at], "after": ids[at + 1 :]}
    config = qwen_config(len(number), prompt["image"], **changes)
    model, weights = make_qwen(config, dtype, f"qwen25vl/{name}")
    rng = generator(f"qwen25vl/{name}/patches")
    patch = config["vision_config"]["patch_size"]
    expected = {}
    for side_name, side in sides.items():
        grid = side // patch // 2
        patches = randn((images, 4 * grid * grid, 6 * patch * patch), rng)
        tokens = torch.stack([encode(model, prompt, picture, grid) for picture in patches])
        expected |= {f"{side_name}.patches": patches, f"{side_name}.tokens": tokens}
        print(f"qwen25vl/{name}: {side_name} {tuple(tokens.shape)} std {tokens.std():.2f}, pictures differ by {(tokens[0] - tokens[-1]).std():.2f}")
    folder = fresh(GOLDENS / "qwen25vl" / name)
    write_model(folder, weights, config, sharded=name.endswith("sharded"))
    write_json(folder / "prompt.json", {**prompt, "sides": sides})
    write_tensors(folder / "expected.safetensors", expected)


def qwen25vl() -> None:
    for one in CASES:
        case(*one)


# --- pre-processing -----------------------------------------------------------------------------

# Sides of the reference's two crops, and of the pictures that come of them.
CROPS = {"low": (224, 224), "high": (1024, 1036)}


def preprocess() -> None:
    """Patches of the photographs: three of them, and the mean of each token's four."""
    processor = Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 12845056})  # as Qwen-Image's
    folder = GOLDENS / "preprocess"
    expected = {}
    for path in photographs.make_missing(folder / "inputs"):
        image = open_upright(path)
        for name, (crop, side) in CROPS.items():
            cropped = ImageCropAndResize(height=crop, width=crop)(image)
            patches = processor(images=[cropped], return_tensors="pt")["pixel_values"]
            count = len(patches)
            assert count == (side // 14) ** 2
            expected |= {
                f"{path.stem}.{name}.patches": patches[[0, count // 2 + 1, count - 1]],
                f"{path.stem}.{name}.means": patches.view(count // 4, -1).mean(1),
            }
    write_tensors(folder / "qwen.safetensors", expected)


PARTS = {"qwen25vl": qwen25vl, "preprocess": preprocess}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
