"""Codes and exposures of photographs: what each camera gets, what is fixed, what goes into files, what is learned."""

import dataclasses

import pytest
import torch
from radiance_cases import RADIANCE, shaken
from render_cases import BOX, Ball, camera, pose

import neufield as nf
from neufield.core.config import describe
from neufield.core.errors import ConfigError
from neufield.core.rays import Conditioning, RenderOutput
from neufield.core.recipe import Recipe
from neufield.fitting import Photometric, fit
from neufield.fitting.optim import adam
from neufield.renderers import AppearanceEmbedding, Cameras, Exposure, PoseRefinement, RadianceScene, StratifiedSampler
from neufield.renderers.per_image import expose
from neufield.signals.posed_images import PosedImages

pytestmark = pytest.mark.usefixtures("one_thread")
STRAIGHT = camera(to_world=pose(at=(0.0, 0.0, 4.0)), cx=32.0, cy=24.0)
MIDDLE = torch.tensor([[0.0, 32.0, 24.0], [1.0, 32.0, 24.0], [2.0, 32.0, 24.0], [3.0, 32.0, 24.0]])
NOTHING = torch.zeros(1, 3)


def cameras(count: int = 4) -> Cameras:
    return Cameras.of([STRAIGHT] * count)


def coded(generator: torch.Generator) -> RadianceScene:
    """Three photographs with codes, and a camera without one."""
    model = RadianceScene(
        shaken(RADIANCE["coded"]()), cameras(), BOX, StratifiedSampler(BOX, 16), appearance=AppearanceEmbedding(3, 2)
    )
    with torch.no_grad():
        model.appearance.codes.copy_(torch.randn(3, 2, generator=generator))
    return model


def test_each_photograph_has_its_code_and_an_unseen_camera_the_mean(generator) -> None:
    appearance = coded(generator).appearance
    given = appearance(torch.tensor([2, 0, 3, 7]))
    mean = appearance.codes.mean(0)
    torch.testing.assert_close(given, torch.stack([appearance.codes[2], appearance.codes[0], mean, mean]))
    torch.testing.assert_close(appearance.unseen(2), torch.stack([mean, mean]))
    torch.testing.assert_close(appearance.alone()(torch.tensor([0, 5])), torch.stack([mean, mean]))
    assert torch.equal(appearance.alone(1)(torch.tensor([0])), appearance.codes[1:2])
    for like in (-1, 3):
        with pytest.raises(ValueError, match=rf"photograph {like} was asked for, but the photographs are 0 to 2"):
            appearance.alone(like)


def test_codes_start_at_zero_so_that_all_photographs_look_alike() -> None:
    assert torch.equal(AppearanceEmbedding(3, 2)(torch.arange(4)), torch.zeros(4, 2))


@torch.no_grad()
def test_other_cameras_see_the_mean_appearance_or_that_of_a_named_photograph(generator) -> None:
    model = coded(generator)
    own = model(MIDDLE)
    assert len({tuple(color.tolist()) for color in own}) == 4  # three photographs and the mean
    first = MIDDLE[:1]
    assert torch.equal(model.seen_by(cameras(1))(first), own[3:])
    for like in range(3):
        assert torch.equal(model.seen_by(cameras(1), like)(first), own[like : like + 1])
    plain = RadianceScene(Ball(), cameras(), BOX, StratifiedSampler(BOX, 16))
    with pytest.raises(ValueError, match="photograph 1 has no code"):
        plain.seen_by(cameras(1), 1)


def test_a_field_and_an_appearance_that_do_not_fit_are_refused() -> None:
    for field, appearance in ((Ball(), AppearanceEmbedding(1, 2)), (RADIANCE["coded"](), None)):
        with pytest.raises(ConfigError, match=r"takes codes of . numbers, but the appearance has .; give"):
            RadianceScene(field, cameras(), BOX, StratifiedSampler(BOX, 4), appearance=appearance)
    with pytest.raises(ValueError, match="dim is 0"):
        AppearanceEmbedding(2, 0)


def exposed(generator: torch.Generator) -> Exposure:
    exposure = Exposure(3)
    with torch.no_grad():
        exposure.log_gain.copy_(0.3 * torch.randn(3, 3, generator=generator))
        exposure.offset.copy_(0.1 * torch.randn(3, 3, generator=generator))
    return exposure


def test_exposures_are_gains_and_offsets_of_straight_colors_about_their_mean(generator) -> None:
    exposure = exposed(generator)
    straight, opacity = torch.rand(4, 3, generator=generator), torch.tensor([1.0, 0.5, 0.25, 0.75])
    view = RenderOutput(straight * opacity[:, None], opacity, torch.zeros(4))
    out = expose(view, exposure(torch.arange(4))).rgb / opacity[:, None]
    gain = (exposure.log_gain - exposure.log_gain.mean(0)).exp()
    offset = exposure.offset - exposure.offset.mean(0)
    torch.testing.assert_close(out[:3], straight[:3] * gain + offset)
    assert torch.equal(out[3], straight[3])  # of no photograph: opacity 0.75 and back is exact here
    with torch.no_grad():  # a brighter field and lower gains would be the same pictures: it is not to be had
        exposure.log_gain += 1.0
        exposure.offset += 0.5
    again = expose(view, exposure(torch.arange(4))).rgb / opacity[:, None]
    torch.testing.assert_close(again, out, rtol=1e-5, atol=1e-6)  # float32 of means that moved by 1


@torch.no_grad()
def test_exposure_leaves_the_background_alone(generator) -> None:
    """A translucent ball over two backgrounds: what shines through is the same with and without exposures."""
    exposure = exposed(generator)
    plain, lit = (
        RadianceScene(Ball(0.7), cameras(), BOX, StratifiedSampler(BOX, 500), exposure=e) for e in (None, exposure)
    )
    black, background = torch.zeros(4, 3), torch.rand(4, 3, generator=generator)
    before, after = (model.render(MIDDLE, background) for model in (plain, lit))
    assert 0.3 < float(before.opacity[0]) < 0.7
    through = before.rgb - plain.render(MIDDLE, black).rgb
    torch.testing.assert_close(after.rgb - lit.render(MIDDLE, black).rgb, through, rtol=1e-5, atol=1e-6)  # differences
    assert float((after.rgb - before.rgb)[:3].abs().min()) > 1e-3
    torch.testing.assert_close(after.rgb[3], before.rgb[3])  # an unseen camera
    torch.testing.assert_close(lit.seen_by(cameras(4)).render(MIDDLE, background).rgb, before.rgb)


def test_an_empty_space_shows_the_background_whatever_the_exposure(generator) -> None:
    lit = RadianceScene(
        Ball(0.0), cameras(), BOX, StratifiedSampler(BOX, 8), (0.25, 0.5, 1.0), exposure=exposed(generator)
    )
    assert torch.equal(lit(MIDDLE), torch.tensor([[0.25, 0.5, 1.0]]).expand(4, 3))


def test_every_part_learns_at_its_own_rate_whatever_the_field_s() -> None:
    field = RADIANCE["coded"]()  # lr 0.5, twice that for its color_network
    field.recipe = dataclasses.replace(field.recipe, l2_regs={"color_network": 0.25})
    refinement = PoseRefinement(3, lr=3e-3, prior_weight=0.6)
    model = RadianceScene(
        field, Cameras.of([STRAIGHT] * 4, refinement), BOX, StratifiedSampler(BOX, 4),
        appearance=AppearanceEmbedding(3, 2, lr=2e-2), exposure=Exposure(3, lr=1e-3),
    )  # fmt: skip
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {names[id(p)]: group for group in adam(model, model.recipe).param_groups for p in group["params"]}
    rates = {
        "appearance.codes": 2e-2,
        "exposure.log_gain": 1e-3,
        "exposure.offset": 1e-3,
        "cameras.refinement.twists": 3e-3,
    }
    for name, group in groups.items():
        color = name.startswith("field.color_network")
        assert group["lr"] == pytest.approx(rates.get(name, 1.0 if color else 0.5)), name
        # The mean over three cameras, so a third of the pull for each.
        expected = 0.25 if color else 0.2 if name == "cameras.refinement.twists" else 0.0
        assert group["weight_decay"] == pytest.approx(expected), name
    assert rates.keys() < groups.keys()


@torch.no_grad()
def test_a_loaded_model_renders_the_same(generator, tmp_path) -> None:
    field, refinement = shaken(RADIANCE["coded"]()), PoseRefinement(3, (0.0, 0.0, 1.0), 2.0)
    refinement.twists.copy_(0.02 * torch.randn(3, 6, generator=generator))
    model = RadianceScene(
        field, Cameras.of([STRAIGHT] * 4, refinement), BOX, StratifiedSampler(BOX, 16),
        appearance=AppearanceEmbedding(3, 2), exposure=exposed(generator),
    )  # fmt: skip
    model.appearance.codes.copy_(torch.randn(3, 2, generator=generator))
    nf.save(model, tmp_path / "field.safetensors")
    loaded = nf.load(tmp_path / "field.safetensors")
    assert describe(loaded) == describe(model)
    assert loaded.recipe == model.recipe
    assert torch.equal(loaded(MIDDLE), model(MIDDLE))
    assert len({tuple(color.tolist()) for color in loaded(MIDDLE)}) == 4
    for like in (None, 1):
        assert torch.equal(loaded.seen_by(cameras(1), like)(MIDDLE[:1]), model.seen_by(cameras(1), like)(MIDDLE[:1]))
    for index in range(4):
        assert torch.equal(loaded.cameras.camera(index).to_world, model.cameras.camera(index).to_world)


class Tinted(Ball):
    """A ball whose color a code may change: the constant, plus what the code says."""

    code_dim = 3

    def color(self, features: torch.Tensor, d: torch.Tensor, cond: Conditioning | None = None) -> torch.Tensor:
        return self.color_ + cond.code


def plain_photographs(colors: torch.Tensor) -> PosedImages:
    """Opaque photographs (8, 8) of one color each."""
    return PosedImages([(torch.cat([c, torch.ones(1)]) * 255).round().byte().expand(8, 8, 4).clone() for c in colors])


@pytest.mark.parametrize("kind", ["appearance", "exposure"])
def test_what_differs_between_photographs_is_learnt_and_the_field_keeps_the_mean(kind: str) -> None:
    """Three pictures of one ball, each in light of another color, its field fixed but for its own color."""
    seen = torch.tensor([[0.3, 0.4, 0.6], [0.2, 0.5, 0.4], [0.4, 0.3, 0.5]])
    near = camera(width=8, height=8, fx=200.0, fy=200.0, cx=4.0, cy=4.0, to_world=pose(at=(0.0, 0.0, 4.0)))
    parts = (
        {"appearance": AppearanceEmbedding(3, 3, lr=0.02)}
        if kind == "appearance"
        else {"exposure": Exposure(3, lr=0.02)}
    )
    field = Tinted(1000.0) if kind == "appearance" else Ball(1000.0)
    field.recipe = Recipe(lr=0.02, steps=150, batch_size=64 * 32)
    model = RadianceScene(field, Cameras.of([near] * 3), BOX, StratifiedSampler(BOX, 32), **parts)
    fit(model, plain_photographs(seen), objective=Photometric("l2"), evaluate_every=1000)
    with torch.no_grad():
        x = torch.tensor([[0.0, 4.0, 4.0], [1.0, 4.0, 4.0], [2.0, 4.0, 4.0]])
        found, unseen = model(x), model.seen_by(Cameras.of([near]))(x[:1])
    # 8 bits are 0.002; Adam's last steps at a vanishing rate leave less.
    torch.testing.assert_close(found, seen, rtol=0, atol=0.01)
    # Codes are added here, so their mean is exact; exposures share gains and offsets between them.
    torch.testing.assert_close(unseen[0], seen.mean(0), rtol=0, atol=0.01 if kind == "appearance" else 0.05)
