"""Make the goldens of LoRA algebra: what torch in float64 says of small random LoRAs.

Run by hand, never by CI; the tests read only the files that it writes:

    pip install torch safetensors numpy
    pip install --no-deps diffsynth          # the reference's reset_rank, for its error alone
    python test/parity/make_lora_goldens.py

Every case is a LoRA file and what is true of it: singular values of each module's dW, its factors
U S and V^T, energies, ranks for a share of the norm. They come from a thin QR of both factors and
the SVD of the small core, in float64, from the values as the file holds them; each is checked here
against the SVD of the dense product. Nothing is computed by the app.
"""

import json
import math
import shutil
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from diffsynth.utils.lora.reset_rank import reset_lora_rank

GOLDENS = Path(__file__).resolve().parent / "goldens" / "lora"
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
SHARES = (0.5, 0.9, 0.99, 1.0)
RATIOS = (1.5, 4.0, 30.0)

torch.set_num_threads(1)


def generator(name: str) -> torch.Generator:
    """A stream of random numbers that depends on the name alone."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def randn(rows: int, columns: int, rng) -> torch.Tensor:
    return torch.randn((rows, columns), generator=rng, dtype=torch.float64)


# --- LoRAs: module -> (A [rank, in], B [out, rank]) in float64 ---------------------------------


def plain(name, shapes):
    """As an untouched random LoRA: shapes are (rank, in, out)."""
    rng = generator(name)
    return {
        f"transformer_blocks.{i}.attn.to_q": (randn(rank, inner, rng) / math.sqrt(inner), randn(out, rank, rng))
        for i, (rank, inner, out) in enumerate(shapes)
    }


def trained(name, shapes):
    """Components that fall by four orders of magnitude, as training leaves them, in no order."""
    made = plain(name, shapes)
    rng = generator(f"{name}/order")
    for a, b in made.values():
        fall = torch.logspace(0, -4, a.shape[0], dtype=torch.float64)
        b *= fall[torch.randperm(a.shape[0], generator=rng)]
    return made


def deficient(name, shapes):
    """Twice the same LoRA side by side: half of its rank is empty."""
    return {path: (torch.cat([a, a]), torch.cat([b, b], dim=1)) for path, (a, b) in plain(name, shapes).items()}


def mean_heavy(name, shapes, share=0.3):
    """The mean over the rows of dW holds this share of its norm: what a PCA would subtract and lose."""
    made = {}
    for path, (a, b) in plain(name, shapes).items():
        # 1 (out) times the mean row of dW is one component: take what is there away, and put the share in.
        mean = b.mean(dim=0, keepdim=True)
        b = b - mean
        row = randn(1, a.shape[1], generator(f"{name}/{path}"))
        rest = torch.linalg.norm(b @ a)
        size = rest * share / math.sqrt(1 - share**2) / (torch.linalg.norm(row) * math.sqrt(b.shape[0]))
        made[path] = (torch.cat([a, row]), torch.cat([b, torch.full((b.shape[0], 1), size, dtype=torch.float64)], dim=1))
    return made


def unbalanced(name, shapes):
    """Rows of A and columns of B whose sizes differ by 10^12 and cancel in their product."""
    made = plain(name, shapes)
    for a, b in made.values():
        sizes = torch.logspace(-6, 6, a.shape[0], dtype=torch.float64)
        a *= sizes[:, None]
        b /= sizes
    return made


# name, dtype of the file, how its factors are made, (rank, in, out) of each module, alpha
CASES = [
    ("f32-plain", "F32", plain, [(1, 12, 9), (4, 40, 24), (24, 64, 56)], None),
    ("bf16-plain", "BF16", plain, [(4, 40, 24), (16, 48, 96)], None),
    ("f16-mixed-ranks", "F16", plain, [(2, 24, 40), (8, 33, 17), (24, 48, 48)], None),
    ("f32-trained", "F32", trained, [(12, 48, 40), (20, 64, 40)], None),
    ("bf16-rank-deficient", "BF16", deficient, [(3, 30, 20), (8, 40, 40)], None),
    ("f32-rank-above-size", "F32", plain, [(12, 8, 20), (12, 20, 8)], None),
    ("bf16-mean-heavy", "BF16", mean_heavy, [(7, 48, 64), (3, 32, 40)], None),
    ("f32-unbalanced", "F32", unbalanced, [(6, 24, 30)], None),
    ("f16-kohya-alpha", "F16", plain, [(6, 32, 24), (10, 24, 40)], 3.0),
]


# --- files -------------------------------------------------------------------------------------


def kohya(path: str) -> str:
    return f"lora_unet_{path.replace('.', '_')}"


def write_lora(folder: Path, name: str, lora, dtype: str, alpha) -> None:
    tensors = {}
    for path, (a, b) in lora.items():
        down, up = (f"{kohya(path)}.lora_down", f"{kohya(path)}.lora_up") if alpha else (f"{path}.lora_A", f"{path}.lora_B")
        tensors[f"{down}.weight"] = a.to(DTYPES[dtype]).contiguous()
        tensors[f"{up}.weight"] = b.to(DTYPES[dtype]).contiguous()
        if alpha:
            tensors[f"{kohya(path)}.alpha"] = torch.tensor(alpha)
    save_file(tensors, folder / f"{name}.safetensors")


def stored(lora, dtype: str):
    """The values that the file holds, in float64 again."""
    return {path: tuple(t.to(DTYPES[dtype]).double() for t in factors) for path, factors in lora.items()}


# --- the truth ---------------------------------------------------------------------------------


def thin_svd(a: torch.Tensor, b: torch.Tensor, scale: float):
    """U, S, V^T of scale * B A by thin QR of both factors. @returns as many as the smallest size."""
    qa, ra = torch.linalg.qr(a.T)
    qb, rb = torch.linalg.qr(b)
    u, s, vt = torch.linalg.svd(scale * rb @ ra.T, full_matrices=False)
    u, vt = qb @ u, vt @ qa.T
    dense = torch.linalg.svdvals(scale * b @ a)
    assert torch.allclose(s, dense[: len(s)], rtol=0, atol=1e-13 * dense[0]), "QR and dense SVD disagree"
    return u, s, vt


def smallest_rank(values, share: float) -> int:
    """The smallest rank at which these spectra together keep a share of their Frobenius norm."""
    most = max(len(s) for s in values)
    total = sum((s**2).sum() for s in values)
    if share == 1:
        return max(int((s > 1e-7 * s[0]).sum()) for s in values)
    for rank in range(1, most + 1):
        if sum((s[:rank] ** 2).sum() for s in values) >= share**2 * total:
            return rank
    return most


def energies(values):
    """Share of the norm that each rank keeps, of all modules together."""
    total = sum((s**2).sum() for s in values)
    most = max(len(s) for s in values)
    return [math.sqrt(min(1.0, (sum((s[:k] ** 2).sum() for s in values) / total).item())) for k in range(1, most + 1)]


def reference_errors(lora, rank: int):
    """||dW - dW'|| / ||dW|| of the reference's reset_rank, for each module. Its sketch is random: seeded here."""
    torch.manual_seed(0)
    keyed = {}
    for path, (a, b) in lora.items():
        keyed |= {f"{path}.lora_A.weight": a.float(), f"{path}.lora_B.weight": b.float()}
    result = reset_lora_rank(keyed, rank)
    errors = {}
    for path, (a, b) in lora.items():
        dense = b @ a
        new = result[f"{path}.lora_B.weight"].double() @ result[f"{path}.lora_A.weight"].double()
        errors[path] = (torch.linalg.norm(dense - new) / torch.linalg.norm(dense)).item()
    return errors


def case(name: str, dtype: str, make, shapes, alpha) -> None:
    folder = GOLDENS / name
    folder.mkdir(parents=True)
    lora = make(name, shapes)
    write_lora(folder, "lora", lora, dtype, alpha)
    exact = stored(lora, dtype)
    modules, tensors, spectra = [], {}, []
    for path, (a, b) in exact.items():
        u, s, vt = thin_svd(a, b, alpha / a.shape[0] if alpha else 1.0)
        spectra.append(s)
        tensors[f"{path}.US"] = (u * s).float().contiguous()
        tensors[f"{path}.VT"] = vt.float().contiguous()
        modules.append({"path": path, "rank": a.shape[0], "singularValues": s.tolist()})
    save_file(tensors, folder / "expected.safetensors")
    floor = min(min(a.shape[0], a.shape[1], b.shape[0]) for a, b in exact.values())
    expected = {
        "modules": modules,
        "kept": energies(spectra),
        "rankForShare": {str(share): smallest_rank(spectra, share) for share in SHARES},
        "ranksForShare": {str(share): [smallest_rank([s], share) for s in spectra] for share in SHARES},
        "ranksForRatio": {str(ratio): [int((s >= s[0] / ratio).sum()) for s in spectra] for ratio in RATIOS},
    }
    if not alpha:  # The reference reads no alpha.
        expected["reference"] = {"rank": floor, "errors": reference_errors(exact, floor)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {[m['rank'] for m in modules]}, kept at rank {floor}: {expected['kept'][floor - 1]:.4f}")


# --- merge and diff: two LoRAs of unlike ranks and types ----------------------------------------

STRENGTHS = (0.7, -1.3)


def pair() -> None:
    folder = GOLDENS / "pair"
    folder.mkdir(parents=True)
    one = plain("pair/one", [(4, 40, 24), (2, 16, 33)])
    other = plain("pair/other", [(9, 40, 24), (5, 16, 33)])
    write_lora(folder, "one", one, "BF16", None)
    write_lora(folder, "other", other, "F16", 2.0)
    x = {path: b @ a for path, (a, b) in stored(one, "BF16").items()}
    y = {path: b @ a * (2.0 / a.shape[0]) for path, (a, b) in stored(other, "F16").items()}
    norm = torch.linalg.norm
    save_file({path: (STRENGTHS[0] * x[path] + STRENGTHS[1] * y[path]).float() for path in x}, folder / "expected.safetensors")
    expected = {
        "strengths": STRENGTHS,
        "comparison": [
            {
                "module": path,
                "relativeError": (norm(x[path] - y[path]) / norm(x[path])).item(),
                "cosine": ((x[path] * y[path]).sum() / norm(x[path]) / norm(y[path])).item(),
            }
            for path in x
        ],
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(GOLDENS, ignore_errors=True)
    for each in CASES:
        case(*each)
    pair()
    size = sum(file.stat().st_size for file in GOLDENS.rglob("*") if file.is_file())
    assert all(load_file(file) for file in GOLDENS.rglob("*.safetensors"))
    print(f"{size / 1000:.0f} kB")
