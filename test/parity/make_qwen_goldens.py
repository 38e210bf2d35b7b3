"""Make the goldens of Qwen2.5-VL and of the experts that read it, and of Z-Image's expert.

Run by hand, never by CI; README.md says how, and lists the versions that made the committed files:

    python test/parity/make_qwen_goldens.py              # all, or: make_qwen_goldens.py qwen25vl experts

The network is DiffSynth's QwenImageTextEncoder (transformers' Qwen2_5_VLModel) at tiny sizes; weights,
names and files are as in make_goldens.py. Two things are ours:

- The prompt is the reference's, with its token ids numbered anew from 0: so the token table has a few
  dozen rows and not 152064. prompt.json holds the ids.
- transformers 5 gives the picture's tokens their rows and columns only where it is told which tokens are
  the picture's (mm_token_type_ids); DiffSynth, written for transformers 4, doesn't tell it. The published
  experts were made with the rows and columns, so they are asked for here.
"""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import photographs
import torch
from make_goldens import open_upright
from tiny_reference import fresh, generator, randn, random_weights, upcast, write_json, write_model, write_tensors

from diffsynth.core.data.operators import ImageCropAndResize
from diffsynth.models.qwen_image_image2lora import LoRATrainerBlock, QwenImageImage2LoRAModel
from diffsynth.models.qwen_image_text_encoder import QwenImageTextEncoder
from diffsynth.models.z_image_image2lora import LoRATrainerBlock as ZImageBlock
from diffsynth.models.z_image_image2lora import ZImageImage2LoRAModel
from diffsynth.pipelines.qwen_image import QwenImageUnit_Image2LoRADecode
from diffsynth.pipelines.z_image import ZImageUnit_Image2LoRADecode
from diffsynth.utils.lora.merge import merge_lora
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


# --- experts ------------------------------------------------------------------------------------

# name, file dtype, compress width, rank, residual (tokens, reduced width) or None
EXPERTS = [
    ("style", "BF16", 3, 4, None),
    ("coarse", "BF16", 4, 2, (5, 3)),
    ("fine", "F16", 5, 3, (9, 2)),
]
HIDDEN, TOKEN_WIDTH, BIAS_RANK = 6, 7, 5
VECTORS = {"siglip2": 8, "dinov3": 12}
TOKENS = {"qwen-low": 5, "qwen-high": 9}
IMAGES = (1, 2, 5)


def tiny_expert(compress: int, rank: int, residual) -> QwenImageImage2LoRAModel:
    """The reference's decoder, its module table scaled down to `HIDDEN`."""
    length, reduced = residual or (1, 1)
    model = QwenImageImage2LoRAModel(num_blocks=0, use_residual=residual is not None, compress_dim=compress, rank=rank)
    for group in model.lora_patterns:
        scaled = [(module, a // 3072 * HIDDEN, b // 3072 * HIDDEN) for module, a, b in group]
        model.blocks.append(
            LoRATrainerBlock(scaled, sum(VECTORS.values()), compress, rank, block_id=0, use_residual=residual is not None,
                             residual_length=length, residual_dim=TOKEN_WIDTH, residual_mid_dim=reduced)
        )  # fmt: skip
    return model.eval()


def decode(models: dict, inputs: dict, images: int) -> dict:
    """The reference's own unit, for the experts that a pipeline has."""
    pipe = SimpleNamespace(load_models_to_device=lambda _: None)
    for name, *_ in EXPERTS:
        setattr(pipe, f"image2lora_{name}", models.get(name))
    x = torch.cat([inputs[name][:images] for name in VECTORS], dim=-1)
    low, high = (inputs[name][:images, None] for name in TOKENS)  # one row an image, as encode_prompt_edit gives them
    return QwenImageUnit_Image2LoRADecode().process(pipe, x, low, high)["lora"]


def experts() -> None:
    """Every subset of the experts, with and without Bias, for 1, 2 and 5 images."""
    folder = fresh(GOLDENS / "experts")
    models = {}
    for name, dtype, compress, rank, residual in EXPERTS:
        model = tiny_expert(compress, rank, residual)
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        weights = random_weights(shapes, dtype, f"experts/{name}")
        # Tokens come in times 0.05: larger weights keep a residual from drowning in the rest.
        weights = {key: value * (20 if "proj_residual.proj_in" in key else 1) for key, value in weights.items()}
        model.load_state_dict(upcast(weights))
        write_model(fresh(folder / name), weights, {"model_type": "qwen_image_i2l", "rank": rank})
        models[name] = model
    rng = generator("experts/inputs")
    inputs = {name: randn((max(IMAGES), width), rng) for name, width in VECTORS.items()}
    inputs |= {name: randn((max(IMAGES), tokens * TOKEN_WIDTH), rng) for name, tokens in TOKENS.items()}
    write_tensors(folder / "inputs.safetensors", inputs)
    bias = bias_like(decode(models, inputs, 1))
    fresh(folder / "bias")
    write_tensors(folder / "bias" / "model.safetensors", bias)
    names = [name for name, *_ in EXPERTS]
    subsets = [subset for size in (1, 2, 3) for subset in itertools.combinations(names, size)]
    for images in IMAGES:
        expected = {}
        for subset in subsets:
            lora = decode({name: models[name] for name in subset}, inputs, images)
            both = merge_lora([lora, upcast(bias)])  # as the model's card does it: factor 1
            expected |= {f"{'+'.join(subset)} {key}": value for key, value in lora.items()}
            expected |= {f"{'+'.join(subset)}+bias {key}": value for key, value in both.items()}
        write_tensors(folder / f"expected-{images}.safetensors", expected)
        print(f"experts, {images} images: {len(subsets)} subsets, {len(expected)} tensors")


def bias_like(lora: dict) -> dict:
    """A static LoRA of the same modules."""
    rng = generator("experts/bias")
    shapes = {key: (BIAS_RANK, value.shape[1]) if "lora_A" in key else (value.shape[0], BIAS_RANK) for key, value in lora.items()}
    return {key: (randn(shape, rng) / 3).to(torch.bfloat16) for key, shape in shapes.items()}


# --- Z-Image ------------------------------------------------------------------------------------

Z_HIDDEN, Z_FEED_FORWARD, Z_BLOCKS, Z_REFINERS, Z_COMPRESS, Z_RANK = 6, 10, 2, 1, 4, 4


def z_image() -> None:
    folder = fresh(GOLDENS / "z-image")
    with torch.device("meta"):  # for its module table and forward; its own blocks are of full size
        model = ZImageImage2LoRAModel(compress_dim=Z_COMPRESS, rank=Z_RANK)
    groups = [
        [(f"attention.{name}", Z_HIDDEN, Z_HIDDEN) for name in ("to_q", "to_k", "to_v", "to_out.0")],
        [("feed_forward.w1", Z_HIDDEN, Z_FEED_FORWARD), ("feed_forward.w2", Z_FEED_FORWARD, Z_HIDDEN),
         ("feed_forward.w3", Z_HIDDEN, Z_FEED_FORWARD)],
    ]  # fmt: skip
    for name, blocks in (("layers", Z_BLOCKS), ("context_refiner", Z_REFINERS), ("noise_refiner", Z_REFINERS)):
        component = getattr(model, f"{name}_lora")
        component.blocks = torch.nn.ModuleList(
            ZImageBlock(group, sum(VECTORS.values()), Z_COMPRESS, Z_RANK, block_id=i, use_residual=False, prefix=name)
            for group in groups
            for i in range(blocks)
        )
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = random_weights(shapes, "BF16", "z-image/style")
    model.load_state_dict(upcast(weights))
    write_model(fresh(folder / "style"), weights, {"model_type": "z_image_i2l", "rank": Z_RANK})
    rng = generator("z-image/inputs")
    inputs = {name: randn((max(IMAGES), width), rng) for name, width in VECTORS.items()}
    write_tensors(folder / "inputs.safetensors", inputs)
    pipe = SimpleNamespace(load_models_to_device=lambda _: None, image2lora_style=model)
    for images in IMAGES:
        x = torch.cat([inputs[name][:images] for name in VECTORS], dim=-1)
        lora = ZImageUnit_Image2LoRADecode().process(pipe, x)["lora"]
        write_tensors(folder / f"expected-{images}.safetensors", {f"style {key}": value for key, value in lora.items()})
        print(f"z-image, {images} images: {len(lora)} tensors")


PARTS = {"qwen25vl": qwen25vl, "preprocess": preprocess, "experts": experts, "z-image": z_image}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
