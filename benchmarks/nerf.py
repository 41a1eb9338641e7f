"""Radiance fields by wall time through the command line: test PSNR, one row for each scene, preset and budget.

    python benchmarks/nerf.py SCENE... --presets ngp vm voxels nerf --seconds 15 60 --name nerf_cpu
        [--backend torch] [--options="--box 1.2"]

Each budget is a run of its own, because the learning rate falls over it. Rows go to benchmarks/results/<name>.json as
they are finished, and rows that are there are not run again. ``--backend torch`` is the same in plain PyTorch.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
KEYS = (
    "psnr",
    "ssim",
    "seconds",
    "steps",
    "rays_per_second",
    "samples_per_second",
    "seconds_per_view",
    "n_params",
    "n_views",
    "backend",
    "device",
    "threads",
    "protocol",
    "torch_version",
    "version",
)
# dB on lego, 800 x 800, and what is different there.
PUBLISHED = {
    "instant-ngp, RTX 3090, black background (arXiv 2201.05989, table 2)": {
        1: 18.83,
        5: 30.13,
        15: 33.68,
        60: 35.63,
        300: 36.39,
    },
    "nerfacc's instant-ngp, Titan RTX, white background": {269: 35.67},
    "TensoRF VM-192 (arXiv 2203.09517)": {1056: 36.46},
    "Plenoxels (arXiv 2112.05131)": {660: 34.10},
    "NeRF (arXiv 2003.08934)": {86_400: 32.54},
}


def run(scene: Path, preset: str, seconds: float, backend: str, options: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "neufield.apps.cli", "nerf", "train", str(scene), "--out", str(out)]
        command += ["--preset", preset, "--time-budget", str(seconds), "--backend", backend, *options]
        command += ["--eval-budget", "inf"]  # a benchmark's number is of all test views
        subprocess.run(command, check=True)
        result = json.loads((out / "result.json").read_text())
    return {key: result.get(key) for key in KEYS}


def table(rows: dict[str, dict], seconds: list[float]) -> str:
    """One row for each scene, preset and backend, a column for each budget."""
    heads = " | ".join(f"{s:g} s" for s in seconds)
    lines = [f"| scene | preset | backend | {heads} | rays/s | s a view |", "|---" * (5 + len(seconds)) + "|"]
    runs = dict.fromkeys(tuple(key.split("/")[:3]) for key in rows)
    for scene, preset, backend in runs:
        found = [rows.get(f"{scene}/{preset}/{backend}/{s:g}") for s in seconds]
        values = " | ".join("" if row is None else f"{row['psnr']:.2f}" for row in found)
        last = next(row for row in reversed(found) if row)
        speed = f"{last['rays_per_second']:,} | {last['seconds_per_view']:.2f}"
        lines.append(f"| {scene} | {preset} | {backend} | {values} | {speed} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, save after each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--presets", nargs="+", default=["ngp", "vm", "cp", "voxels", "triplane", "nerf"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--options", default="", help="more options of `neufield nerf train`, in one string")
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    target = RESULTS / f"{options.name}.json"
    target.parent.mkdir(exist_ok=True)
    rows = json.loads(target.read_text()) if target.exists() else {}
    for scene in options.scenes:
        for preset in options.presets:
            for seconds in options.seconds:
                key = f"{scene.name}/{preset}/{options.backend}/{seconds:g}"
                if key not in rows:
                    rows[key] = run(scene, preset, seconds, options.backend, shlex.split(options.options))
                    rows[key]["options"] = options.options
                    target.write_text(json.dumps(rows, indent=2) + "\n")
    print(table(rows, sorted({float(key.split("/")[3]) for key in rows})))
    if any(key.startswith("lego") for key in rows):
        print("\nPublished, lego at 800 x 800:")
        for what, numbers in PUBLISHED.items():
            print(f"- {what}: " + ", ".join(f"{psnr} dB in {s:,} s" for s, psnr in numbers.items()))


if __name__ == "__main__":
    main()
