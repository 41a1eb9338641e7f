"""What a paper's growth and regularizers are worth: a preset with its plan, and at its last size from the beginning.

    python benchmarks/growth.py SCENE... [--presets vm voxels] [--box 1.2] [--steps 600] [--seed 0]

Equal steps, intervals a step and seed. PSNR is that of 8,192 pixels spread over the test views, on white. Rows go to
benchmarks/results/growth.json as they are finished; rows that are there are not run again.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import torch

import neufield as nf
from neufield.core.memory import keep_freed_memory
from neufield.core.plan import Resizable
from neufield.fitting import Photometric, count_parameters, evaluate, fit, grown
from neufield.presets import Edit, choose_views, radiance_scene, scene_images
from neufield.renderers import Box

RESULTS = Path(__file__).parent / "results" / "growth.json"


def run(path: Path, preset: str, planned: bool, options: argparse.Namespace) -> dict[str, float]:
    """Train once, with the preset's plan or without any at the size that the plan ends with."""
    scene = nf.formats.read_scene(path)
    found = choose_views(scene)
    views = dataclasses.replace(found, watched=found.test)  # the ones that are judged have cameras in the model
    model = radiance_scene(scene, preset, views=views, bounds=options.box, seed=options.seed)
    if not planned:
        last = grown(model, model.recipe.plan).field
        size = [Edit("resolution", last.resolution)] if isinstance(last, Resizable) else []  # K-Planes do not grow
        edits = [Edit("recipe.plan", None), *size]
        model = radiance_scene(scene, preset, views=views, bounds=options.box, edits=edits, seed=options.seed)
    recipe = dataclasses.replace(model.recipe, steps=options.steps)
    images = scene_images(views)
    objective = Photometric(recipe.loss, "random")
    state = fit(model, images, recipe, objective=objective, seed=options.seed, evaluate_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "field.safetensors"
        nf.save(model, file)
        size = file.stat().st_size
    return {
        "psnr": evaluate(state, images).values["psnr"],
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "n_params": count_parameters(model),
        "field_bytes": size,
        "rays": sum(int(row["rays"]) for row in state.history),
    }


def main() -> None:
    """Both ways for each scene and preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--presets", nargs="+", default=["vm", "voxels"])
    parser.add_argument("--box", type=lambda edge: Box([-float(edge)] * 3, [float(edge)] * 3), default="1.2")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)  # the same bits on every machine's number of cores
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for path in options.scenes:
        for preset in options.presets:
            for planned in (False, True):
                key = f"{path.name}/{preset}/{options.steps}/{'plan' if planned else 'none'}/{options.seed}"
                if key not in rows:
                    rows[key] = run(path, preset, planned, options)
                    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
                print(key, rows[key], flush=True)


if __name__ == "__main__":
    main()
