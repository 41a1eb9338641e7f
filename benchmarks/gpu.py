"""Our kernels on a GPU beside torch's, torch.compile's and tiny-cuda-nn's, and beside what the card can do at best.

    python benchmarks/gpu.py [--only tests,W,V,image] [--rounds N] [--points 16384,...] [--image FILE] [--out FOLDER]

Builds nothing. First the tests that want a GPU and those of the Triton kernels; then a training step (forward, L2 loss,
backward, fused Adam) and inference of W and V (cpu_workloads.py) at 2^14 to 2^21 points; then an image is learnt in
steps of 2^18 points. All variants take turns, timed with CUDA events around a few calls after one that does not count,
and their medians are compared: "x eager", "x tcnn" (the faster of with and without JIT fusion). One variant of ours is
a step that gives the same bits in every run ("deterministic").

"/ roofline" is a median as a multiple of the time that moving the bytes at the rate of a copy, or the products at the
rate of a large product, would take, whichever is longer (gpu_workloads.costs says what is counted). A table that stays
in the card's L2 cache can be below the first. Writes gpu.json and gpu.md to results/<card>/. Without CUDA the exit code
is 2; ``--device cpu --dry`` goes through the motions with tiny sizes, to see that this program still runs.
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import math
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_workloads
import torch
from torch import Tensor

import neufield as nf
from neufield.core.errors import BackendError
from neufield.core.records import Batch
from neufield.fitting import Regression, start
from neufield.fitting.steps import EagerStep, make_stepper

_ROOT = Path(__file__).resolve().parents[1]
_PICTURES = [_ROOT.parent / "shared" / "data" / "images_shared" / name for name in ("albert.jpg", "kodim08.png")]
_MOMENTS = (1.0, 2.0, 5.0)  # seconds at which the image is looked at
_WARM_UP = 2
_CALLS = 5  # between two events: as a training loop has them, one behind the other
Call = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Test, check, time, print, save; returns the exit code."""
    options = parse(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a CUDA GPU and a torch built for it, which are not here", file=sys.stderr)
        return 2
    result: dict[str, Any] = {"machine": machine(device), "dry": options.dry, "notes": []}
    out = options.out or Path(__file__).parent / "results" / slug(result["machine"]["card"])
    out.mkdir(parents=True, exist_ok=True)
    if "tests" in options.only:
        result["tests"] = run_tests()
    result["best rates"] = rates(device, options.dry)
    result["workloads"] = {}
    for key, workload in gpu_workloads.workloads(options.dry).items():
        if key in options.only:
            result["workloads"][key] = run(workload, options, device, result["best rates"])
            save(out, result)
    if "image" in options.only:
        result["image"] = learn_image(options, device)
    save(out, result)
    print(report(result))
    failed = result.get("tests", {}).get("exit code", 0)
    return 1 if failed or any(part["wrong"] for part in result["workloads"].values()) else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, no tests, nothing compiled")
    parser.add_argument("--only", default="tests,W,V,image", help="any of %(default)s")
    parser.add_argument("--points", help="default 16384,65536,262144,2097152")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each variant (default %(default)s)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--image", type=Path, help="the picture to learn; default: albert.jpg of ../shared/data")
    parser.add_argument("--out", type=Path, help="default: results/<card> beside this file")
    options = parser.parse_args(arguments)
    if options.device != "cuda" and not options.dry:
        parser.error(f"--device {options.device} shows nothing of a GPU; add --dry to go through the motions")
    options.only = [part for part in options.only.split(",") if not (options.dry and part == "tests")]
    sizes = options.points or ("64,96" if options.dry else "16384,65536,262144,2097152")
    options.points = [int(size) for size in sizes.split(",")]
    options.rounds = 1 if options.dry else options.rounds
    options.no_compile |= options.dry
    return options


def machine(device: torch.device) -> dict[str, object]:
    """What the numbers depend on."""
    cuda = device.type == "cuda"
    return {
        "card": torch.cuda.get_device_name(device) if cuda else f"no card ({device})",
        "capability": "{}.{}".format(*torch.cuda.get_device_capability(device)) if cuda else "none",
        "driver": _driver() if cuda else "none",
        "cuda": torch.version.cuda or "none",
        "torch": torch.__version__,
        "triton": _version("triton"),
        "tinycudann": _version("tinycudann"),
        "neufield": nf.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def slug(card: object) -> str:
    """A folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", str(card).lower()).strip("-")


def run_tests() -> dict[str, object]:
    """The parity suite: whatever is marked ``gpu``, and the Triton kernels' tests, which then run on the card."""
    triton = sorted(str(path) for path in (_ROOT / "tests").glob("test_triton_*.py"))
    found: dict[str, object] = {"exit code": 0}
    for name, chosen in {"marked gpu": ["-m", "gpu", "tests"], "Triton kernels": triton}.items():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        found[name] = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
        found["exit code"] = found["exit code"] or done.returncode
        print(f"tests, {name}: {found[name]}", flush=True)
    return found


def seconds(work: Call, device: torch.device, calls: int = _CALLS) -> float:
    """Of one of several calls in a row, on the card's own clock."""
    if device.type != "cuda":
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - begin) / calls
    begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begun.record()
    for _ in range(calls):
        work()
    ended.record()
    ended.synchronize()
    return begun.elapsed_time(ended) / 1e3 / calls


def rates(device: torch.device, dry: bool) -> dict[str, float]:
    """The best of ten tries each: a copy, GB/s read and written, and products of large matrices, TFLOP/s."""
    side = 64 if dry else 8192
    source = torch.ones(2**12 if dry else 2**28, device=device)
    target = torch.empty_like(source)
    found = {"copy, GB/s": 8e-9 * len(source) / _best(lambda: target.copy_(source), device)}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        found[f"{name} product, TFLOP/s"] = 2e-12 * side**3 / _best(lambda a=a, b=b: torch.mm(a, b), device)
    return found


def _best(work: Call, device: torch.device) -> float:
    work()
    return min(seconds(work, device) for _ in range(10))


def run(workload: Any, options: argparse.Namespace, device: torch.device, best: dict[str, float]) -> dict[str, Any]:
    """Check and time one workload at all sizes."""
    found, notes = gpu_workloads.variants(workload, device, not options.no_compile)
    wrong = gpu_workloads.check(workload, found, options.points[0], device)
    good = [v for v in found if not any(sentence.startswith(f"{v.name} does not") for sentence in wrong)]
    result: dict[str, Any] = {"title": workload.title, "wrong": wrong, "notes": notes, "sizes": {}}
    result["relative errors"] = {variant.name: variant.errors for variant in found}
    for points in options.points:
        x, target = gpu_workloads.batch(workload, points, device)
        part = result["sizes"][points] = {}
        for kind in ("step", "forward"):
            timed = [v for v in good if kind == "step" or not (v.repeatable or "replayed" in v.name)]
            calls = {v.name: call(v, kind, x, target) for v in timed}
            times = alternate(calls, options.rounds, device, notes)
            cost = gpu_workloads.costs(workload, points, kind == "step")
            part[kind] = {"costs": cost, "variants": summary(good, times, cost, best, points)}
    return result


def call(variant: gpu_workloads.Variant, kind: str, x: Tensor, target: Tensor) -> Call:
    """A function that does one step, or one evaluation."""
    if kind == "step":
        return variant.step(variant, x, target)

    @torch.no_grad()
    def forward() -> None:
        with variant.computing(x.device):
            variant.model(x)

    return forward


def alternate(calls: dict[str, Call], rounds: int, device: torch.device, notes: list[str]) -> dict[str, list[float]]:
    """Seconds of each call, taken in turns; one that the card's memory does not hold is left out with a note."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(_WARM_UP + rounds):
        for name, work in calls.items():
            if name not in times:
                continue
            try:
                work()  # which finds its own data in the caches afterwards, not its rival's
                taken = seconds(work, device)
            except torch.OutOfMemoryError:
                del times[name]
                notes.append(f"{name}: left out where the card's memory does not suffice")
                torch.cuda.empty_cache()
                continue
            if turn >= _WARM_UP:
                times[name].append(taken)
    return times


def summary(
    found: list[gpu_workloads.Variant],
    times: dict[str, list[float]],
    cost: dict[str, float],
    best: dict[str, float],
    points: int,
) -> dict[str, dict[str, float]]:
    """A row of numbers for each variant that was timed."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    rivals = {side: [medians[v.name] for v in found if v.side == side and v.name in medians] for side in _RIVALS}
    rows = {}
    for variant in found:
        if variant.name not in medians:
            continue
        median = medians[variant.name]
        moving = cost["bytes"] / best["copy, GB/s"] / 1e9
        floor = max(moving, cost["FLOPs"] / best[f"{variant.precision} product, TFLOP/s"] / 1e12)
        rows[variant.name] = {
            "n": len(times[variant.name]),
            "median ms": median * 1e3,
            "least ms": min(times[variant.name]) * 1e3,
            "M points/s": points / median / 1e6,
            "/ roofline": median / floor,
            **{label: min(rivals[side]) / median for side, label in _RIVALS.items() if rivals[side]},
        }
    return rows


_RIVALS = {"eager": "x eager", "compiled": "x compile", "tcnn": "x tcnn"}


def learn_image(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """A picture by W's field in bf16, its samples drawn on the device: dB by seconds of the device, and 1000 steps'."""
    pixels, name = picture(options, device)
    height, width, channels = pixels.shape
    workload = gpu_workloads.workloads(options.dry)["W"]
    field = gpu_workloads.field_of(workload, device)
    half = functools.partial(torch.autocast, device.type, torch.bfloat16, device.type == "cuda")
    launched = EagerStep(field, start(field, field.recipe), Regression(), half)
    stepper = make_stepper(launched, device, replay=True)
    n, most, block, moments = (64, 4, 2, (0.0,)) if options.dry else (2**18, 1000, 20, _MOMENTS)
    generator = torch.Generator(device).manual_seed(0)
    extent = torch.tensor([height, width], device=device)
    colors = torch.nn.functional.pad(pixels, (0, workload.shapes[-1] - channels)).flatten(0, 1)

    def step() -> None:
        place = torch.randint(height * width, (n,), generator=generator, device=device)
        at = torch.stack([place // width, place % width], 1)
        stepper.take(Batch((at + 0.5) / extent, colors[place]), 0.0)

    spent, done, seen = 0.0, 0, {}
    result: dict[str, Any] = {"picture": name, "points a step": n, "how": type(stepper).__name__}
    seconds(step, device, calls=8)  # compiles, and records where steps are replayed
    while done < most or spent < moments[-1]:
        spent += block * seconds(step, device, calls=block)
        done += block
        if done == most:
            result[f"seconds of {most} steps"] = spent
            result[f"dB after {most} steps"] = _psnr(field, pixels)
        for moment in moments:
            if spent >= moment and moment not in seen:
                seen[moment] = {"dB": _psnr(field, pixels), "steps": done, "seconds": spent}
    return result | {"dB by seconds": seen, "loss": stepper.loss()}


@torch.no_grad()
def _psnr(field: torch.nn.Module, pixels: Tensor) -> float:
    height, width, channels = pixels.shape
    rows = (torch.arange(height, device=pixels.device) + 0.5) / height
    columns = (torch.arange(width, device=pixels.device) + 0.5) / width
    found = field(torch.cartesian_prod(rows, columns))[:, :channels].float().clamp(0, 1)
    return -10 * math.log10(float((found - pixels.flatten(0, 1)).square().mean()))


def picture(options: argparse.Namespace, device: torch.device) -> tuple[Tensor, str]:
    """(H, W, C) in [0, 1] on the device, and its name: the one that was given, one of ours, or waves."""
    for path in [options.image] if options.image else [] if options.dry else filter(Path.exists, _PICTURES):
        try:
            image = nf.signals.Image(path)
        except BackendError as error:
            print(error, file=sys.stderr)
            break
        values = image.lattice(image.shape)[..., :3]
        return values.to(device), path.name
    side = 16 if options.dry else 1024
    place = torch.linspace(0, 1, side, device=device)
    waves = [torch.sin(40 * k * place[:, None] * place) for k in (1, 2, 3)]
    return torch.stack(waves, -1) * 0.5 + 0.5, "waves (no picture was found)"


def report(result: dict[str, Any]) -> str:
    """Everything as Markdown."""
    lines = ["# GPU kernels", "", ", ".join(f"{name} {value}" for name, value in result["machine"].items()), ""]
    if result["dry"]:
        lines += ["Tiny sizes, to see that the program runs: these times mean nothing.", ""]
    lines += [f"Tests, {name}: {said}." for name, said in result.get("tests", {}).items()]
    lines += ["", "| at best | |", "|---|---|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in result["best rates"].items()]
    for key, part in result["workloads"].items():
        lines += ["", f"## {key}: {part['title']}"]
        for points, kinds in part["sizes"].items():
            for kind, timed in kinds.items():
                lines += ["", *table(f"{kind}, {points} points", timed), ""]
                lines.append(", ".join(f"{value:.3g} {name}" for name, value in timed["costs"].items()))
        lines += ["", "| relative error | values | table gradient | network gradient |", "|---|---|---|---|"]
        for name, errors in part["relative errors"].items():
            lines.append(f"| {name} | {' | '.join(f'{error:.1e}' for error in errors.values())} |")
        lines += ["", *part["wrong"], *dict.fromkeys(part["notes"])]
    if "image" in result:
        lines += ["", "## An image", ""]
        lines += [f"- {name}: {value}" for name, value in result["image"].items()]
    return "\n".join(lines)


def table(title: str, timed: dict[str, Any]) -> list[str]:
    """The variants of one kind of call at one size."""
    columns = ["n", "median ms", "least ms", "M points/s", *_RIVALS.values(), "/ roofline"]
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in timed["variants"].items():
        cells = (f"{row[column]:.4g}" if column in row else "" for column in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def save(out: Path, result: dict[str, Any]) -> None:
    """The numbers as JSON, the tables beside them."""
    (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "gpu.md").write_text(report(result) + "\n")


if __name__ == "__main__":
    sys.exit(main())
