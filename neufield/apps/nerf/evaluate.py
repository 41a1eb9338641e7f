"""``neufield nerf eval``: a trained field judged again, without training."""

import sys

import torch

import neufield
from neufield.apps.console import Terminal, headline
from neufield.apps.nerf import setup
from neufield.apps.nerf.eval_result import print_eval_result
from neufield.apps.nerf.evaluation import choose_judged, judge
from neufield.apps.nerf.load_model import load_model
from neufield.apps.options import NerfEval
from neufield.apps.run_folder import field_of, write_json
from neufield.metrics import describe
from neufield.metrics import protocol as find_protocol


def evaluate(options: NerfEval) -> None:
    """Render the scene's test views, score them in all ways, and write that beside the field."""
    console = Terminal()
    find_protocol(options.protocol)
    field = field_of(options.run)
    model = load_model(field, options.device, options.backend)
    judged = choose_judged(setup.open_scene(options.scene, console, options), options.test_every, options.eval_budget)
    judged.check()
    eval_result = judge(model, judged, console)
    if eval_result is None:
        raise KeyboardInterrupt
    out = options.out or field.with_name("eval.json")
    write_json(
        out,
        {
            **eval_result.record(options.protocol),
            "field": str(field),
            "scene": str(options.scene),
            "device": str(next(model.parameters()).device),
            "threads": torch.get_num_threads(),
            "version": neufield.__version__,
            "torch_version": torch.__version__,
        },
    )
    print_eval_result(eval_result, console)
    console.print(
        headline(
            describe(eval_result.scores[options.protocol]),
            f", {eval_result.views}; {eval_result.seconds_per_view:.2f} s a view; wrote {out}",
        ),
        soft_wrap=True,
    )
    if eval_result.stopped:
        sys.exit(130)
