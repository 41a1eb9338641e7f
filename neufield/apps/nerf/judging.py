"""One rendering of every view, scored as each tool would score it, and what the differences come from."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from neufield.apps.console import Terminal
from neufield.apps.nerf.views import Rendered, render_view
from neufield.core.errors import BackendError, ConfigError, DataError
from neufield.core.perceptual import Distance, Network, load_lpips
from neufield.core.protocol import PROTOCOLS, Protocol, average, spread
from neufield.renderers import PosedField
from neufield.signals.photographs import read_photograph
from neufield.signals.scene import Frame, Scene
from neufield.signals.scene.records import Split

_TRAINED_ON = 8  # views that are judged where none were kept for it

Scores = Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Judged:
    """The frames that a model is judged by: of which ``split``, and ``every`` how many of its pictures."""

    frames: tuple[Frame, ...]
    split: Split
    every: int

    def check(self) -> None:
        """Read every photograph once: a damaged one is better found now than after an hour of training."""
        for frame in self.frames:
            read_photograph(frame)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a model is worth by each protocol.

    Args:
        judged: the views.
        scores: a protocol's name -> metric -> its average over the views.
        each: the same of every view.
        seconds_per_view: what rendering one took.
        notes: why metrics are absent.
    """

    judged: Judged
    scores: Scores
    each: Sequence[Scores]
    seconds_per_view: float
    notes: tuple[str, ...]

    def spread(self, metric: str) -> float:
        """How far the protocols are apart."""
        values = [scores[metric] for scores in self.scores.values()]
        return max(values) - min(values)

    def record(self, name: str) -> dict[str, Any]:
        """For a result file: the scores of the protocol of that name, what it is, and the others' beside it."""
        applied = dataclasses.replace(PROTOCOLS[name], split=self.judged.split, every=self.judged.every)
        return {
            **self.scores[name],
            "views": self.judged.split,
            "n_views": len(self.judged.frames),
            "protocol": name,
            **{f"protocol_{key}": value for key, value in dataclasses.asdict(applied).items()},
            "protocols": {key: dict(scores) for key, scores in self.scores.items()},
            "protocols_psnr_spread": self.spread("psnr"),
            "notes": list(self.notes),
            "seconds_per_view": round(self.seconds_per_view, 3),
        }


def choose_judged(scene: Scene, every: int) -> Judged:
    """Every ``every``-th test view, whatever the protocol, so that protocols compare; without any, training views."""
    if every < 1:
        raise ConfigError(f"--test-every is {every}, but it must be 1 (all test views) or more")
    test = scene.split("test")
    if test:
        return Judged(test[::every], "test", every)
    train = scene.split("train")[:_TRAINED_ON]
    if not train:
        raise DataError("the scene has neither test nor training photographs; give one that has some to judge by")
    return Judged(train, "train", 1)


def judge(model: PosedField, judged: Judged, keep: Callable[[Frame, Tensor, Rendered], None]) -> Verdict:
    """Render every view once and score it by every protocol; ``keep`` gets photograph (h, w, 4) and view."""
    distances, notes = _distances()
    each, seconds = [], 0.0
    for frame in judged.frames:
        photograph = read_photograph(frame).float() / 255
        begun = time.perf_counter()
        rendered = render_view(model, frame.camera)
        seconds += time.perf_counter() - begun
        try:
            scores = spread(rendered.rgba, photograph, PROTOCOLS, distances)
        except RuntimeError as error:  # a picture smaller than the network can see
            if not distances:
                raise
            distances = {}
            notes = (*notes, f"LPIPS is left out: it cannot judge {frame.name} ({str(error).splitlines()[0]})")
            scores = spread(rendered.rgba, photograph)
        each.append(scores)
        keep(frame, photograph, rendered)
    averages = {name: average([scores[name] for scores in each], one) for name, one in PROTOCOLS.items()}
    return Verdict(judged, averages, each, seconds / len(each), notes)


def print_verdict(verdict: Verdict, console: Terminal) -> None:
    """All protocols below each other, and why they differ."""
    with_lpips = any("lpips" in scores for scores in verdict.scores.values())
    rows = [f"{'protocol':13}  {'PSNR':>6}  {'SSIM':>6}" + "  LPIPS      " * with_lpips]
    for name, scores in verdict.scores.items():
        one = PROTOCOLS[name]
        row = f"{name:13}  {scores['psnr']:6.2f}  {scores['ssim']:6.4f}"
        if with_lpips:
            row += "  " + (f"{scores['lpips']:6.4f} {one.lpips:4}" if "lpips" in scores else f"{'-':11}")
        rows.append(f"{row}  {', '.join(_pictures(one).values())}; SSIM {_window(one)}")
    for line in (*rows, _why(verdict)):
        console.print(line, soft_wrap=True)
    for note in verdict.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)


def _distances() -> tuple[Mapping[Network, Distance], tuple[str, ...]]:
    """LPIPS by every network that a protocol asks for; where one cannot be had, why."""
    distances: dict[Network, Distance] = {}
    notes = []
    for network in dict.fromkeys(one.lpips for one in PROTOCOLS.values()):
        if network is None:
            continue
        try:
            distances[network] = load_lpips(network)
        except BackendError as error:
            notes.append(str(error))
    return distances, tuple(dict.fromkeys(notes))


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


def _why(verdict: Verdict) -> str:
    """How far the protocols are apart, and what the farthest two do differently to a picture."""
    ordered = sorted(verdict.scores, key=lambda name: verdict.scores[name]["psnr"])
    low, high = ordered[0], ordered[-1]
    ours, theirs = _pictures(PROTOCOLS[high]), _pictures(PROTOCOLS[low])
    differ = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    above, below = (", ".join(words[key] for key in differ if key in words) for words in (ours, theirs))
    return (
        f"the same {len(verdict.judged.frames)} {verdict.judged.split} views, {verdict.spread('psnr'):.2f} dB apart: "
        f"{high} ({above}) above {low} ({below}); SSIM {verdict.spread('ssim'):.4f} apart by background, window and "
        "range"
    )
