"""Make the parity goldens: what the PyTorch reference answers for tiny random networks.

Run by hand, never by CI; the tests read only the files that it writes:

    pip install torch torchvision transformers safetensors pillow scikit-image
    pip install --no-deps diffsynth        # the reference
    pip install einops pandas imageio accelerate modelscope peft   # what it imports
    python test/parity/make_goldens.py     # all of it, or: make_goldens.py siglip2 i2l

README.md lists the versions that made the committed files. With those versions, on the same
machine, a second run writes the same bytes.

Everything that is computed here is computed by the reference's own classes: DiffSynth's image
encoders (which are transformers' SiglipVisionModel and DINOv3ViTModel with a forward of their
own), its Image-to-LoRA decoder, its merge, its crop. Only sizes differ: they are tiny, and the
weights random. Each file's weights are rounded to the file's dtype first; the reference then
computes in float32 from the rounded values, as the app does.

Pre-processing is the reference's in two steps: ImageCropAndResize to 1024 x 1024, then each
encoder's own processor. Before them come two things that the app does better than the reference:
EXIF orientation is applied, and transparency is flattened on white.
"""

import sys
from pathlib import Path

import photographs
import torch
from PIL import Image, ImageOps
from tiny_reference import (
    dinov3_config,
    fresh,
    generator,
    make_decoder,
    make_dinov3,
    make_siglip2,
    published_processors,
    randn,
    random_weights,
    siglip2_config,
    upcast,
    write_json,
    write_model,
    write_tensors,
)

from diffsynth.core.data.operators import ImageCropAndResize
from diffsynth.utils.lora.merge import merge_lora
from transformers import DINOv3ViTModel, SiglipVisionModel

GOLDENS = Path(__file__).resolve().parent / "goldens"

# name, file dtype, depth, width, heads, intermediate, image size, images, changes to the config
SIGLIP2_CASES = [
    ("f32-depth1", "F32", 1, 32, 4, 80, 48, 1, {}),
    ("bf16-depth2", "BF16", 2, 48, 4, 128, 64, 2, {}),
    ("f16-depth3", "F16", 3, 40, 2, 100, 48, 5, {}),
    ("bf16-depth3-96px", "BF16", 3, 64, 8, 172, 96, 2, {"layer_norm_eps": 1e-2}),
    ("f32-sharded", "F32", 2, 24, 3, 56, 64, 2, {}),
]
DINOV3_CASES = [
    ("f32-depth1", "F32", 1, 32, 4, 48, 48, 1, {}),
    ("bf16-depth2", "BF16", 2, 48, 3, 96, 64, 2, {}),
    ("f16-depth3", "F16", 3, 40, 2, 72, 48, 5, {}),
    ("bf16-two-registers", "BF16", 2, 64, 4, 112, 96, 2,
     {"rope_theta": 10.0, "num_register_tokens": 2, "layer_norm_eps": 1e-2}),
    ("f32-no-registers", "F32", 2, 32, 2, 64, 80, 2, {"num_register_tokens": 0}),
    ("f32-sharded", "F32", 2, 24, 2, 40, 64, 2, {}),
]
# name, file dtype, transformer blocks, hidden size, input width, compress width, rank, images
I2L_CASES = [
    ("f32-one-image", "F32", 2, 24, 40, 3, 4, 1),
    ("bf16-five-images", "BF16", 3, 32, 80, 8, 4, 5),
    ("f16-rank2", "F16", 2, 24, 56, 5, 2, 2),
]
# The encoders that see the photographs, at the published input sizes. Widths add up to 80.
PHOTO_SIGLIP2 = (2, 32, 4, 80, 384)
PHOTO_DINOV3 = (2, 48, 4, 96, 224)
PHOTO_SET = ("landscape", "portrait", "rotated")


# --- the encoders ----------------------------------------------------------------------------


def encoder_case(kind: str, make, make_config, base_class, case) -> None:
    name, dtype, depth, width, heads, intermediate, size, images, changes = case
    folder = fresh(GOLDENS / kind / name)
    config = make_config(depth, width, heads, intermediate, size, **changes)
    model, weights = make(config, dtype, f"{kind}/{name}")
    pixels = randn((images, 3, size, size), generator(f"{kind}/{name}/pixels"))
    embedding = base_class.forward(model, pixel_values=pixels).pooler_output
    write_model(folder, weights, config, sharded=name.endswith("sharded"))
    write_tensors(folder / "expected.safetensors", {"pixel_values": pixels, "embedding": embedding})
    print(f"{kind}/{name}: embedding std {embedding.std():.2f}")


def siglip2() -> None:
    for case in SIGLIP2_CASES:
        encoder_case("siglip2", make_siglip2, siglip2_config, SiglipVisionModel, case)


def dinov3() -> None:
    for case in DINOV3_CASES:
        encoder_case("dinov3", make_dinov3, dinov3_config, DINOv3ViTModel, case)


# --- the decoder ----------------------------------------------------------------------------


def decoder_case(name, dtype, blocks, hidden, in_dim, compress, rank, embeddings, per_image=False) -> None:
    folder = fresh(GOLDENS / "i2l" / name)
    model = make_decoder(blocks, hidden, in_dim, compress, rank)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = random_weights(shapes, dtype, f"i2l/{name}")
    model.load_state_dict(upcast(weights))
    # One call an image, then one merge: as the reference's pipeline does.
    loras = [model(x=x[None], residual=None) for x in embeddings]
    expected = {"embeddings": embeddings, **merge_lora(loras, alpha=1 / len(loras))}
    if per_image:
        expected |= {f"image.{i}.{key}": value for i, lora in enumerate(loras) for key, value in lora.items()}
    write_tensors(folder / "expert.safetensors", weights)
    config = {
        "model_type": "qwen_image_i2l",
        "target": "qwen-image",
        "rank": rank,
        "num_blocks": blocks,
        "hidden_size": hidden,
    }
    write_json(folder / "config.json", config)
    write_tensors(folder / "expected.safetensors", expected)
    print(f"i2l/{name}: {len(expected)} tensors")


def i2l() -> None:
    for name, dtype, blocks, hidden, in_dim, compress, rank, images in I2L_CASES:
        embeddings = randn((images, in_dim), generator(f"i2l/{name}/embeddings"))
        decoder_case(name, dtype, blocks, hidden, in_dim, compress, rank, embeddings, per_image=rank == 2)


# --- pre-processing, and photographs from file to LoRA ----------------------------------------


def open_upright(path: Path) -> Image.Image:
    """RGB, upright, on white. The reference takes whatever the caller opened."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode in ("RGBA", "LA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def pixels_of(image: Image.Image) -> torch.Tensor:
    """The image's bytes, [height, width, 3]."""
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)


def eight_rows(size: int) -> list[int]:
    """Rows spread evenly, the middle of each eighth."""
    return [(2 * i + 1) * size // 16 for i in range(8)]


def summary(name: str, pixels: torch.Tensor, block: int) -> dict:
    """[3, S, S] as eight of its rows and as means over block x block pixels."""
    return {
        f"{name}.rows": pixels[:, eight_rows(pixels.shape[1])],
        f"{name}.pooled": torch.nn.functional.avg_pool2d(pixels[None], block)[0],
    }


def photograph(path: Path, crop, siglip2_model, dinov3_model) -> dict:
    """What the reference makes of one file, each tensor under the file's stem."""
    name, image = path.stem, crop(open_upright(path))
    siglip2_pixels = siglip2_model.processor(images=[image], return_tensors="pt")["pixel_values"][0]
    dinov3_pixels = dinov3_model.processor(images=image, return_tensors="pt")["pixel_values"][0]
    return {
        f"{name}.crop.rows": pixels_of(image)[eight_rows(image.height)],
        **summary(f"{name}.siglip2", siglip2_pixels, 8),
        **summary(f"{name}.dinov3", dinov3_pixels, 7),
        f"{name}.siglip2.embedding": siglip2_model(image, torch_dtype=torch.float32, device="cpu")[0],
        f"{name}.dinov3.embedding": dinov3_model(image, torch_dtype=torch.float32, device="cpu")[0],
    }


def preprocess() -> None:
    folder = GOLDENS / "preprocess"
    siglip2_processor, dinov3_processor = published_processors()
    made = {
        "siglip2": make_siglip2(siglip2_config(*PHOTO_SIGLIP2), "BF16", "preprocess/siglip2", siglip2_processor),
        "dinov3": make_dinov3(dinov3_config(*PHOTO_DINOV3), "BF16", "preprocess/dinov3", dinov3_processor),
    }
    for kind, (model, weights) in made.items():
        config = siglip2_config(*PHOTO_SIGLIP2) if kind == "siglip2" else dinov3_config(*PHOTO_DINOV3)
        write_model(fresh(folder / kind), weights, config)
    crop = ImageCropAndResize(height=1024, width=1024)  # the Image-to-LoRA unit's own settings
    expected = {}
    for path in photographs.make_missing(folder / "inputs"):
        expected |= photograph(path, crop, made["siglip2"][0], made["dinov3"][0])
    write_tensors(folder / "expected.safetensors", expected)
    photographs_to_lora(expected)


def photographs_to_lora(expected: dict) -> None:
    """A decoder for these two encoders, and the LoRA of three photographs: the whole way, end to end."""
    embeddings = torch.stack(
        [torch.cat([expected[f"{name}.siglip2.embedding"], expected[f"{name}.dinov3.embedding"]]) for name in PHOTO_SET]
    )
    decoder_case("photographs", "BF16", 2, 24, embeddings.shape[1], 4, 4, embeddings)


PARTS = {"siglip2": siglip2, "dinov3": dinov3, "i2l": i2l, "preprocess": preprocess}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
