"""The photographs of goldens/preprocess/inputs: one for each kind of file that users bring.

Cut from scikit-image's sample pictures, all CC0 or public domain (README.md names them). Written
only where a file is missing, because another version of a JPEG encoder writes other bytes.
"""

from pathlib import Path

from PIL import Image
from skimage import data

ORIENTATION = 0x0112  # the EXIF tag


def landscape(path):
    """600 x 400."""
    Image.fromarray(data.coffee()).save(path, quality=80)


def portrait(path):
    """361 x 512. Covers 1024 as 1024 x 1452: the crop is even."""
    Image.fromarray(data.astronaut()).crop((60, 0, 421, 512)).save(path, quality=85)


def tall(path):
    """106 x 427, about 1:4. Covers 1024 as 1024 x 4125: an odd rest, (4125 - 1024) / 2 = 1550.5."""
    Image.fromarray(data.rocket()).crop((272, 0, 378, 427)).save(path, optimize=True)


def tiny(path):
    """20 x 24, the cat's eye."""
    Image.fromarray(data.chelsea()).crop((160, 100, 180, 124)).save(path)


def palette(path):
    """300 x 200 with 48 colours."""
    Image.fromarray(data.chelsea()).resize((300, 200)).quantize(48).save(path, optimize=True)


def alpha(path):
    """180 x 120, fading out to the right and at the bottom, with an edge of full transparency."""
    image = Image.fromarray(data.coffee()).resize((180, 120))
    fade = Image.linear_gradient("L").rotate(110, expand=True).resize(image.size)
    image.putalpha(fade)
    image.save(path, optimize=True)


def rotated(path):
    """Stored 300 x 451, to be turned a quarter clockwise on display: EXIF orientation 6."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.fromarray(data.chelsea()).transpose(Image.Transpose.ROTATE_90)
    image.save(path, quality=85, exif=exif)


def grey(path):
    """512 x 397, one channel."""
    Image.fromarray(data.camera()).crop((0, 40, 512, 437)).save(path, quality=75)


def large(path):
    """1500 x 1308, strongly compressed: scaled down to 1024, where the others are scaled up."""
    image = Image.fromarray(data.hubble_deep_field()).resize((1500, 1308), Image.Resampling.LANCZOS)
    image.save(path, quality=25, optimize=True)


MAKERS = {
    "landscape.jpg": landscape,
    "portrait.jpg": portrait,
    "tall.png": tall,
    "tiny.png": tiny,
    "palette.png": palette,
    "alpha.png": alpha,
    "rotated.jpg": rotated,
    "grey.jpg": grey,
    "large.jpg": large,
}


def make_missing(folder: Path) -> list[Path]:
    """The photographs' paths, in a fixed order; those not there yet are made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MAKERS.items():
        if not (folder / name).exists():
            make(folder / name)
    return [folder / name for name in MAKERS]
