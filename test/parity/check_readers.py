"""Do the programs that read LoRAs understand ours? Run by hand, never by CI; READERS.md has what it said:

    pip install torch safetensors diffusers peft
    pip install --no-deps diffsynth
    python test/parity/check_readers.py

LoRAs are made by the command line from one small random LoRA, a file for each key form. Each reader loads
each file with its own code into a small model of the published architecture, and for every module the
change of its weight is compared with dW of the original LoRA: a key that is silently skipped fails here.
"""

import contextlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import QwenImageTransformer2DModel, ZImageTransformer2DModel
from diffusers.loaders import QwenImageLoraLoaderMixin, ZImageLoraLoaderMixin
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

COMMAND = Path(__file__).resolve().parents[2] / "build" / "i2l.mjs"
FORMS = ("comfyui", "reference", "diffusers", "plain", "kohya", "musubi", "onetrainer")
RANK = 5
BAR = 1e-5  # f32 files, f32 products

torch.manual_seed(1)
torch.set_grad_enabled(False)


def qwen():
    return QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=24, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip


def z_image():
    return ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[4, 6, 6], axes_lens=[16, 16, 16],
    )  # fmt: skip


QWEN_MODULES = [
    *(f"attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")),
    *(f"{stream}_{name}" for stream in ("img", "txt") for name in ("mlp.net.2", "mod.1")),
]
Z_MODULES = [*(f"attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")), *(f"feed_forward.w{i}" for i in (1, 2, 3))]

TARGETS = {
    "qwen-image": (qwen, QwenImageLoraLoaderMixin, QWEN_MODULES),
    "z-image": (z_image, ZImageLoraLoaderMixin, Z_MODULES),
}


def modules_of(model, names):
    """The linear layers that an expert gives factors for."""
    return {path: layer for path, layer in model.named_modules() if any(path.endswith(f".{name}") for name in names)}


def original(model, names, file):
    """A random LoRA, as the reference writes it. @returns dW by module"""
    tensors, change = {}, {}
    for path, layer in modules_of(model, names).items():
        a = torch.randn(RANK, layer.in_features) / layer.in_features**0.5
        b = torch.randn(layer.out_features, RANK) * 0.1
        tensors |= {f"{path}.lora_A.default.weight": a, f"{path}.lora_B.default.weight": b}
        change[path] = b @ a
    save_file(tensors, file)
    return change


def run(*args):
    subprocess.run(["node", COMMAND, *map(str, args), "--quiet"], check=True)


# --- readers: each gives dW by module, and what it did not expect -----------------------------------


def by_diffusers(make, mixin, file):
    """The loader of diffusers' pipelines: its own conversion of keys, then PEFT."""
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = mixin.lora_state_dict(str(file.parent), weight_name=file.name)
    mixin.load_lora_into_transformer(state, transformer=model, adapter_name="i2l")
    model.fuse_lora()
    model.unload_lora()
    return {name.removesuffix(".weight"): model.state_dict()[name] - value for name, value in before.items()}, []


def by_peft(make, file):
    """PEFT itself: a file whose names are the model's own."""
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = load_file(file)
    targets = sorted({key.rsplit(".lora_", 1)[0] for key in state})
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets), model)
    told = set_peft_model_state_dict(model, state)
    unexpected = list(told.unexpected_keys) + [key for key in told.missing_keys if "lora_" in key]
    change = {}
    for path in targets:
        change[path] = model.get_submodule(path).get_delta_weight("default")
    assert all(torch.equal(model.get_submodule(path).base_layer.weight, before[f"{path}.weight"]) for path in targets)
    return change, unexpected


def by_diffsynth(make, file):
    """DiffSynth's loader, which fuses a LoRA into a model's weights."""
    from diffsynth.utils.lora.general import GeneralLoRALoader

    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with contextlib.redirect_stdout(sys.stderr):  # It prints a count.
        GeneralLoRALoader(device="cpu", torch_dtype=torch.float32).fuse_lora_to_base_model(model, load_file(file))
    return {name.removesuffix(".weight"): model.state_dict()[name] - value for name, value in before.items()}, []


def worst(change, wanted):
    """The largest relative error of a module's change, and whether anything else was changed."""
    errors = [(torch.linalg.norm(change.get(path, 0 * dense) - dense) / torch.linalg.norm(dense)).item() for path, dense in wanted.items()]
    elsewhere = [path for path, value in change.items() if path not in wanted and value.abs().max() > 0]
    return max(errors), elsewhere


def verdict(reader, wanted):
    """One reader and one file, in words; and whether it is as it should be."""
    try:
        change, unexpected = reader()
    except Exception as error:  # a reader that can't is what we want to know
        return f"refuses: {type(error).__name__}: {str(error).splitlines()[0][:90]}", False
    error, elsewhere = worst(change, wanted)
    if unexpected or elsewhere:
        return f"unexpected: {(unexpected + elsewhere)[:3]}", False
    if error >= BAR:
        return ("leaves modules out and says nothing" if error > 0.999 else f"WRONG: relative error {error:.1e}"), False
    return f"{len(wanted)} modules, largest relative error {error:.1e}", True


# What each reader is to understand; the other forms are shown and not judged.
MUST = {
    "diffusers": ("comfyui", "reference", "diffusers", "kohya", "musubi"),
    "peft": ("reference", "plain"),
    "diffsynth": ("comfyui", "reference", "plain"),
}


def check(target, folder):
    make, mixin, names = TARGETS[target]
    wanted = original(make(), names, folder / f"{target}.safetensors")
    rows, good = [], True
    for form in FORMS:
        file = folder / f"{target}-{form}.safetensors"
        run("rank", folder / f"{target}.safetensors", "--rank", RANK, "--dtype", "f32", "--key-form", form, "-o", file)
        load_file(file)  # safetensors' own parser
        readers = {"diffusers": lambda: by_diffusers(make, mixin, file), "peft": lambda: by_peft(make, file), "diffsynth": lambda: by_diffsynth(make, file)}
        for name, reader in readers.items():
            words, right = verdict(reader, wanted)
            must = form in MUST[name]
            good &= right or not must
            rows.append(f"| {target} | {form} | {name} | {'yes' if right else 'no'}{'' if must else ', not judged'} | {words} |")
    return rows, good


def main():
    versions = {name: importlib.metadata.version(name) for name in ("safetensors", "diffusers", "peft", "diffsynth", "torch")}
    print(f"Python {platform.python_version()}, {json.dumps(versions)}\n")
    print("| target | key form | reader | understood | what it said |\n| --- | --- | --- | --- | --- |")
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            rows, good = check(target, Path(folder))
            fine &= good
            print("\n".join(rows), flush=True)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
