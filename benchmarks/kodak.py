"""Presets on pictures through the command line: PSNR, SSIM, seconds and bytes, one row each.

    python benchmarks/kodak.py PICTURE... --preset ngp --name kodak_ngp [--crop 256]
        [--steps N | --time-budget S] [--set KEY=VALUE ...]

Rows go to benchmarks/results/<name>.json as they are finished, and rows that are there are not run again. ``--crop``
takes the middle square of that side. ``seconds_to`` in the file: when each multiple of 5 dB was first seen, evaluating
every 1/20 of the preset's steps.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

RESULTS = Path(__file__).parent / "results"
KEYS = (
    "psnr",
    "ssim",
    "seconds",
    "steps",
    "n_params",
    "field_bytes",
    "source_bytes",
    "threads",
    "torch_version",
    "version",
)


def cropped(picture: Path, side: int | None, folder: Path) -> Path:
    """The picture, or a PNG of its middle square."""
    if side is None:
        return picture
    values = np.asarray(Pillow.open(picture))
    top, left = (values.shape[0] - side) // 2, (values.shape[1] - side) // 2
    path = folder / f"{picture.stem}.png"
    Pillow.fromarray(values[top : top + side, left : left + side]).save(path)
    return path


def main() -> None:
    """Run what is missing, save after each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--preset", default="ngp")
    parser.add_argument("--crop", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--time-budget", type=float)
    parser.add_argument("--set", nargs="+", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    target = RESULTS / f"{options.name}.json"
    target.parent.mkdir(exist_ok=True)
    rows = json.loads(target.read_text()) if target.exists() else {}
    for picture in options.pictures:
        if picture.stem in rows:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            source, out = cropped(picture, options.crop, Path(scratch)), Path(scratch) / "run"
            more = ["--steps", str(options.steps)] if options.steps else []
            more += ["--time-budget", str(options.time_budget)] if options.time_budget else []
            more += ["--set", *options.settings] if options.settings else []
            command = [
                sys.executable,
                "-m",
                "neufield.apps.cli",
                "fit",
                source,
                "--preset",
                options.preset,
                "--out",
                out,
            ]
            subprocess.run([*command, *more], check=True)
            result = json.loads((out / "result.json").read_text())
            log = list(csv.DictReader((out / "log.csv").open()))
        seen = [(float(row["seconds"]), float(row["psnr"])) for row in log if row.get("psnr")]
        reached = {level: next((t for t, psnr in seen if psnr >= level), None) for level in range(30, 55, 5)}
        what = {"preset": options.preset, "crop": options.crop, "settings": options.settings}
        rows[picture.stem] = {**what, **{key: result[key] for key in KEYS}, "seconds_to": reached}
        target.write_text(json.dumps(rows, indent=2) + "\n")
    print("| picture | PSNR dB | SSIM | seconds | steps | field kB | file kB |\n|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        sizes = f"{row['field_bytes'] / 1e3:.0f} | {row['source_bytes'] / 1e3:.0f}"
        print(f"| {name} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['seconds']:.0f} | {row['steps']} | {sizes} |")
    mean = sum(row["psnr"] for row in rows.values()) / len(rows)
    print(f"mean {mean:.2f} dB, least {min(row['psnr'] for row in rows.values()):.2f} dB")


if __name__ == "__main__":
    main()
