"""What a field is worth in the ways of four tools, for result files and for the terminal."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from neufield.apps.console import Terminal
from neufield.formats.scene import Frame
from neufield.formats.scene.records import Split
from neufield.metrics.protocols import PROTOCOLS, Protocol

Scores = Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """What a model is worth by each protocol.

    Args:
        frames: the views that were judged, in the scene's order.
        split: of which they are.
        every: which part of that split was to be judged: one in so many.
        there: how many views these would have been.
        reduction: how many times smaller than the photographs the views were.
        ended: why there are fewer or smaller ones, in words; empty where there are not.
        stopped: by Ctrl-C.
        scores: a protocol's name -> metric -> its average over the views.
        each: the same of every view.
        seconds_per_view: what rendering one took.
        notes: why metrics are absent.
    """

    frames: tuple[Frame, ...]
    split: Split
    every: int
    there: int
    reduction: int
    ended: str
    stopped: bool
    scores: Scores
    each: Sequence[Scores]
    seconds_per_view: float
    notes: tuple[str, ...]

    @property
    def views(self) -> str:
        """Such as "8 test views", or "3 of 8 test views at 1/2 size"."""
        of = f" of {self.there}" if len(self.frames) < self.there else ""
        size = f" at 1/{self.reduction} size" if self.reduction > 1 else ""
        return f"{len(self.frames)}{of} {self.split} views{size}"

    def range_over_protocols(self, metric: str) -> float:
        """How far the protocols are apart."""
        values = [scores[metric] for scores in self.scores.values()]
        return max(values) - min(values)

    def record(self, name: str) -> dict[str, Any]:
        """What a result file has: the scores of the protocol of that name, what it is, and the others' beside it."""
        applied = dataclasses.replace(PROTOCOLS[name], split=self.split, every=self.every)
        return {
            **self.scores[name],
            "views": self.split,
            "n_views": len(self.frames),
            "n_views_there": self.there,
            "judged": [frame.name for frame in self.frames],
            "judged_at": f"1/{self.reduction} size" if self.reduction > 1 else "full size",
            "judging_ended": self.ended or "with the last view",
            "protocol": name,
            **{f"protocol_{key}": value for key, value in dataclasses.asdict(applied).items()},
            "protocols": {key: dict(scores) for key, scores in self.scores.items()},
            "protocols_psnr_spread": self.range_over_protocols("psnr"),
            "notes": list(self.notes),
            "seconds_per_view": round(self.seconds_per_view, 3),
        }


def print_eval_result(eval_result: EvalResult, console: Terminal) -> None:
    """All protocols below each other, and why they differ."""
    with_lpips = any("lpips" in scores for scores in eval_result.scores.values())
    rows = [f"{'protocol':13}  {'PSNR':>6}  {'SSIM':>6}" + "  LPIPS      " * with_lpips]
    for name, scores in eval_result.scores.items():
        one = PROTOCOLS[name]
        row = f"{name:13}  {scores['psnr']:6.2f}  {scores['ssim']:6.4f}"
        if with_lpips:
            row += "  " + (f"{scores['lpips']:6.4f} {one.lpips:4}" if "lpips" in scores else f"{'-':11}")
        rows.append(f"{row}  {', '.join(_pictures(one).values())}; SSIM {_window(one)}")
    for line in (*rows, _why(eval_result)):
        console.print(line, soft_wrap=True)
    if eval_result.ended:
        console.print(f"judged by {eval_result.views}: {eval_result.ended}", soft_wrap=True)
    for note in eval_result.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)


def _pictures(one: Protocol) -> dict[str, str]:
    """What happens to pictures before they are compared, in words."""
    rounding = {"nearest": "8 bit", "floor": "8 bit, rounded down"}
    words = {
        "background": f"on {one.background}" if one.background else "as stored",
        "color_space": "linear" if one.color_space == "linear" else "",
        "rounding": rounding[one.rounding] if one.rounding else "clipped" if one.clip else "not clipped",
    }
    return {key: text for key, text in words.items() if text}


def _window(one: Protocol) -> str:
    luminance = " of luminance" if one.ssim_channels == "luminance" else ""
    border = " to the border" if one.ssim_border == "mirror" else ""
    peak = ", range from the pictures" if one.ssim_range is None else ""
    return f"{one.ssim_window} x {one.ssim_window}{luminance}{border}{peak}"


def _why(eval_result: EvalResult) -> str:
    """How far the protocols are apart, and what the farthest two do differently to a picture."""
    ordered = sorted(eval_result.scores, key=lambda name: eval_result.scores[name]["psnr"])
    low, high = ordered[0], ordered[-1]
    ours, theirs = _pictures(PROTOCOLS[high]), _pictures(PROTOCOLS[low])
    differ = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    above, below = (", ".join(words[key] for key in differ if key in words) for words in (ours, theirs))
    return (
        f"the same {eval_result.views}, {eval_result.range_over_protocols('psnr'):.2f} dB apart: "
        f"{high} ({above}) above {low} ({below}); SSIM {eval_result.range_over_protocols('ssim'):.4f} apart by "
        "background, window and range"
    )
