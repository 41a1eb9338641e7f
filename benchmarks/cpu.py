"""The CPU kernels beside the best plain PyTorch we could write, and beside what the machine can do at best.

    python benchmarks/cpu.py [--workloads W,V,S,Q,E] [--rounds N] [--precision fp32,bf16] [--threads N] [--out FILE]

A step is forward, L2 loss (E: eikonal), backward and a fused Adam (0.9, 0.99, 1e-15) on 65,536 points. Every variant
is first checked against the function in float64: values and the gradients of its parameters. Then all take turns in one
process, after two rounds that do not count; a variant that has used up ``--budget`` seconds leaves the round (see n).
A turn of a fast variant begins with a call that does not count: a training loop finds its own data in the caches, not
its rival's. Both sides keep freed memory (``neufield.keep_freed_memory``).

"x eager" is how many times as fast as the fastest plain PyTorch in fp32, not compiled and not ours (torch_side.py);
"x own torch", as neufield's own torch backend; "/ floor", the median as a multiple of the additive roofline at
the median rates of the same minutes: see floors.py. bf16 means the network's products, accumulated in fp32.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cpu_workloads
import floors
import numpy as np
import torch
from cpu_workloads import WORKLOADS, Variant, Workload
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import neufield as nf
from neufield.kernels import native

_WARM_UP = 2
_FAST = 0.15  # seconds; below, a turn begins with a call that does not count
_LEAST = 3  # timed calls of even the slowest variant


def main() -> None:
    """Check, time alternately, print, save."""
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    nf.keep_freed_memory()
    torch.manual_seed(0)
    console = Console(stderr=True)
    result = {"machine": machine(), "peers": cpu_workloads.peers(), "workloads": {}}
    out = options.out or default_out(result["machine"], options.threads)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    # No refreshing thread: it would want a core in the middle of a measurement.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("floors", total=None)

        def note(text: str, **update: float) -> None:
            progress.update(bar, description=text, **update)
            progress.refresh()

        probes = floors.probes(torch.get_num_threads())
        if isinstance(probes, str):
            console.print(f"No floors: {probes}")
            probes = {}
        result["best rates"] = floors.measure(probes, lambda text: note(f"floors: {text}"))
        for key in options.workloads:
            workload = WORKLOADS[key]
            result["workloads"][key] = run(key, workload, options, probes, result["best rates"], note)
            save(out, result)
    print(report(result))
    print(f"\nsaved {out} and {out.with_suffix('.md').name}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="any of %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="timed calls of each variant (default %(default)s)")
    parser.add_argument("--precision", default="fp32,bf16", help="of our kernels' products (default %(default)s)")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--budget", type=float, default=60, help="seconds for each variant (default %(default)s)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--out", type=Path, help="default: results/cpu-<cpu>-<isa>.json beside this file")
    options = parser.parse_args()
    for name, known in (("workloads", list(WORKLOADS)), ("precision", list(cpu_workloads.TOLERANCE))):
        chosen = getattr(options, name).split(",")
        if unknown := [value for value in chosen if value not in known]:
            parser.error(f"--{name}: {', '.join(unknown)} not known; choose from {', '.join(known)}")
        setattr(options, name, chosen)
    return options


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "isa": native.isa() or "none",
        "isas": native.isas(),
        "torch cpu capability": torch.backends.cpu.get_cpu_capability(),
        "neufield": nf.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
    }


def default_out(facts: dict[str, object], threads: int | None) -> Path:
    """results/cpu-<cpu>-<isa>.json; another thread count than torch's gets a file of its own."""
    slug = re.sub(r"[^a-z0-9]+", "-", str(facts["cpu"]).lower()).strip("-")
    suffix = f"-t{threads}" if threads else ""
    return Path(__file__).parent / "results" / f"cpu-{slug}-{facts['isa']}{suffix}.json"


def run(
    key: str,
    workload: Workload,
    options: argparse.Namespace,
    probes: floors.Probes,
    best: dict[str, float],
    note: Callable[..., None],
) -> dict[str, object]:
    """Check and time one workload."""
    note(f"{key}: checking", completed=0, total=None)
    x, target = cpu_workloads.batch(workload, torch.Generator().manual_seed(1))
    found, reference, notes = cpu_workloads.variants(workload, options.precision, not options.no_compile)
    truth = cpu_workloads.outcome(workload, Variant("truth", "truth", reference), x.double(), target.double())
    del reference
    good = []
    for variant in found:
        note(f"{key}: checking {variant.name}")
        begin = time.perf_counter()
        try:
            cpu_workloads.check(workload, variant, truth, x, target)
        except Exception as error:
            if variant.side != "compiled":
                raise
            notes.append(f"{variant.name}: left out: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
            continue
        if variant.side == "compiled":
            notes.append(f"{variant.name}: compiled in {time.perf_counter() - begin:.1f} s")
        good.append(variant)
    del truth
    calls = {(v.name, kind): call(workload, v, kind, x, target) for v in good for kind in workload.kinds}
    before = cpu_seconds()
    times, rates = alternate(
        calls, probes, options.rounds, options.budget, lambda text, **update: note(f"{key}: {text}", **update)
    )
    result: dict[str, object] = {
        "title": workload.title,
        "points": workload.points,
        "relative errors": {variant.name: variant.errors for variant in good},
        "notes": notes,
        "rates": rates,
    }
    if before:
        spent, elapsed = [a - b for a, b in zip(cpu_seconds(), before, strict=True)]
        result["cores busy with other processes"] = spent / elapsed
    parameters = sum(parameter.numel() for parameter in good[0].model.parameters())
    for kind in workload.kinds:
        rooflines = {
            p: floors.roofline(
                best | rates, workload.points, workload.spec, workload.macs, parameters, kind == "step", p
            )
            for p in ("fp32", "bf16")
            if rates and workload.has_floor and any(variant.precision == p for variant in good)
        }
        result[kind] = {
            "rooflines, ms": rooflines,
            "variants": summary(good, {v.name: times[v.name, kind] for v in good}, workload.points, rooflines),
        }
    return result


def call(workload: Workload, variant: Variant, kind: str, x: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    """A function that does one step, or one evaluation."""
    if kind == "forward":

        def forward() -> None:
            with torch.no_grad(), variant.computing():
                variant.model(x)

        return forward
    parameters = list(variant.model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=workload.rate, betas=(0.9, 0.99), eps=1e-15, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with variant.computing():
            loss = workload.loss(variant.model, x, target)
        loss.backward(inputs=parameters)  # E's points require a gradient too, but nobody wants it
        optimizer.step()

    return step


def alternate(
    calls: dict[tuple[str, str], Callable[[], None]],
    probes: floors.Probes,
    rounds: int,
    budget: float,
    note: Callable[..., None],
) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
    """Seconds of each call and the median of each probe's rates, taken in turns."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    rates: dict[str, list[float]] = {name: [] for name in probes}
    last = dict.fromkeys(calls, float("inf"))
    for turn in range(_WARM_UP + rounds):
        for name, function in calls.items():
            if len(times[name]) >= _LEAST and sum(times[name]) > budget:
                continue
            note(f"{' '.join(name)}", completed=turn, total=_WARM_UP + rounds)
            if last[name] < _FAST:
                function()
            begin = time.perf_counter()
            function()
            last[name] = time.perf_counter() - begin
            if turn >= _WARM_UP:
                times[name].append(last[name])
        for name, probe in probes.items():
            probe()
            rates[name].append(probe())
    return times, {name: statistics.median(values) for name, values in rates.items()}


def summary(
    variants: list[Variant], times: dict[str, list[float]], points: int, rooflines: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    """A row of numbers for each variant."""
    medians = {variant.name: statistics.median(times[variant.name]) for variant in variants}
    best_eager = min(medians[v.name] for v in variants if v.side == "eager" and v.precision == "fp32")
    own = next(medians[v.name] for v in variants if v.side == "own torch")
    rows = {}
    for variant in variants:
        values = times[variant.name]
        low, high = np.percentile(values, [10, 90]) * 1e3
        median = medians[variant.name]
        rows[variant.name] = {
            "n": len(values),
            "median ms": median * 1e3,
            "p10 ms": low,
            "p90 ms": high,
            "M points/s": points / median / 1e6,
            "x eager": best_eager / median,
            "x own torch": own / median,
        }
        if variant.precision in rooflines:
            rows[variant.name]["/ floor"] = median * 1e3 / rooflines[variant.precision]["sum"]
    return rows


def cpu_seconds() -> tuple[float, float] | None:
    """Seconds that the cores were busy with other processes (or taken by the hypervisor), and the clock; Linux only."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, stat.read_text().split()[1:9])
    own = os.times()
    total = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    return total - own.user - own.system - own.children_user - own.children_system, time.perf_counter()


def report(result: dict) -> str:
    """Everything as Markdown."""
    facts, best = result["machine"], result["best rates"]
    lines = ["# CPU kernels", "", ", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += ["| the machine at its best | |", "|---|---|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in best.items()]
    for key, part in result["workloads"].items():
        lines += ["", f"## {key}: {part['title']}", ""]
        if "cores busy with other processes" in part:
            lines += [f"{part['cores busy with other processes']:.2f} cores busy with other processes meanwhile.", ""]
        if part["rates"]:
            rates = (f"{name} {value:.4g}" for name, value in part["rates"].items())
            lines += [f"Rates meanwhile: {'; '.join(rates)}.", ""]
        for kind in ("step", "forward"):
            if kind in part:
                lines += [*table(kind, part[kind]), ""]
        errors = {name: max(values.values()) for name, values in part["relative errors"].items()}
        lines.append("Largest relative error: " + "; ".join(f"{name} {error:.1e}" for name, error in errors.items()))
        lines += [f"\n{note}" for note in part["notes"]]
    return "\n".join([*lines, "", *result["peers"]])


def table(kind: str, part: dict) -> list[str]:
    """One kind of call as a Markdown table, and its floor."""
    lines = [
        f"| {kind} | n | ms | p10 - p90 | M points/s | x eager | x own torch | / floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in part["variants"].items():
        floor = f"{row['/ floor']:.2f}" if "/ floor" in row else ""
        lines.append(
            f"| {name} | {row['n']} | {row['median ms']:.2f} | {row['p10 ms']:.2f} - {row['p90 ms']:.2f} "
            f"| {row['M points/s']:.2f} | {row['x eager']:.2f} | {row['x own torch']:.2f} | {floor} |"
        )
    for precision, terms in part["rooflines, ms"].items():
        parts = " + ".join(f"{name} {value:.2f}" for name, value in terms.items() if name != "sum")
        lines += ["", f"Floor, {precision}: {parts} = {terms['sum']:.2f} ms"]
    return lines


def save(out: Path, result: dict) -> None:
    """The numbers as JSON, the tables beside them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    out.with_suffix(".md").write_text(report(result) + "\n")


if __name__ == "__main__":
    main()
