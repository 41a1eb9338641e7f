"""Does skipping empty cells cost quality? The same rays and steps with cells that are skipped and with none.

    python benchmarks/occupancy.py SCENE [--box 1.2] [--steps 1500] [--rays 512] [--seeds 0 1 2]

Prints the test views' PSNR of each, and how many intervals were evaluated; writes benchmarks/results/occupancy.json.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from neufield.apps.console import Terminal
from neufield.apps.nerf.evaluation import choose_judged, judge
from neufield.apps.nerf.setup import given_box
from neufield.fitting import Photometric, fit
from neufield.formats.scene import read_scene
from neufield.presets.scene import choose_bounds, choose_views, radiance_scene, scene_images
from neufield.renderers import OccupancyGrid, RadianceScene

RESULTS = Path(__file__).parent / "results" / "occupancy.json"


def run(options: argparse.Namespace, seed: int, skip: bool) -> dict[str, float]:
    """Train and judge once; without ``skip`` every cell stays occupied."""
    scene = read_scene(options.scene)
    views = choose_views(scene, 0)
    space = choose_bounds(scene, None if options.box is None else given_box(options.box))
    model = radiance_scene(scene, "ngp", views=views, bounds=space, seed=seed)
    if not skip:
        sampler = model.sampler
        assert isinstance(sampler, OccupancyGrid)
        everywhere = OccupancyGrid(space, sampler.render_step_size, sampler.resolution, every=10**9)
        model = RadianceScene(model.field, model.cameras, space, everywhere)
    recipe = dataclasses.replace(model.recipe, steps=options.steps)
    objective = Photometric(recipe.loss, "random")
    photographs = scene_images(views)
    photographs.rays = lambda budget, last: options.rays  # the same number, whatever intervals they have
    state = fit(model, photographs, recipe, objective=objective, seed=seed, evaluate_every=10**9)
    with torch.no_grad():
        verdict = judge(model, choose_judged(scene, 1), Terminal())
    if verdict is None:
        raise KeyboardInterrupt
    marched = sum(row["marched"] for row in state.history)
    return {"psnr": verdict.record("nerf")["psnr"], "marched": marched, "seconds": round(state.seconds, 1)}


def main() -> None:
    """Both ways for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--box")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rays", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        found = {name: run(options, seed, name == "skipped") for name in ("skipped", "none")}
        rows.append({"seed": seed, "scene": options.scene.name, "steps": options.steps, "rays": options.rays, **found})
        skipped, none = found["skipped"], found["none"]
        print(
            f"seed {seed}: {skipped['psnr']:.2f} dB with empty cells skipped, {none['psnr']:.2f} with none; "
            f"{skipped['marched'] / none['marched']:.0%} of the intervals, {skipped['seconds']} and {none['seconds']} s"
        )
        RESULTS.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
