"""Steps of ``fit`` in a few seconds, by how threads wait for each other: alone, and beside programs that spin.

    python benchmarks/waiting.py [seconds]

Each number is a process of its own, because OpenMP reads the environment once.
"""

import multiprocessing
import os
import subprocess
import sys

PRESETS = ("ngp", "siren")
WAITING = {
    "spinning": {"OMP_WAIT_POLICY": "active"},
    "default": {},
    "asleep": {"OMP_WAIT_POLICY": "passive"},
    "the app's": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000"},
}
BESIDE = (0, 4)
CODE = """
import sys, torch
import neufield as nf
from neufield import presets
preset, seconds = sys.argv[1], float(sys.argv[2])
picture = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0))
field = presets.find(preset)(presets.SignalFacts(2, 3, (256, 256), 100_000), torch.Generator().manual_seed(0))
signal = nf.signals.Array(picture)
nf.fit(field, signal, nf.Recipe(steps=3, batch_size=4096))
recipe = nf.Recipe(steps=1_000_000, batch_size=4096)
print(nf.fit(field, signal, recipe, time_budget=seconds, evaluate_every=1_000_000).step)
"""


def steps(preset: str, seconds: float, environment: dict[str, str]) -> int:
    """How many steps a process of its own makes."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-c", CODE, preset, str(seconds)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=own | environment).stdout)


def spin() -> None:
    while True:
        pass


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; steps in {seconds:g} s")
    for preset in PRESETS:
        for others in BESIDE:
            spinners = [multiprocessing.Process(target=spin, daemon=True) for _ in range(others)]
            for spinner in spinners:
                spinner.start()
            try:
                made = {name: steps(preset, seconds, environment) for name, environment in WAITING.items()}
            finally:
                for spinner in spinners:
                    spinner.kill()
            print(f"{preset}, beside {others}: " + ", ".join(f"{name} {count}" for name, count in made.items()))


if __name__ == "__main__":
    main()
