"""Objects to JSON and back, single settings from the shell, and every error on the way."""

import json

import pytest
import torch
from cases import seeded, without_type_checks

from neufield.apps.settings import parse_setting
from neufield.core.config import Config, build, describe
from neufield.core.edits import Edit, edit, edited
from neufield.core.errors import ConfigError, nearest
from neufield.core.recipe import Cosine, Recipe, Step
from neufield.encodings import Composite, Frequency, Grid, Identity
from neufield.fields import NeuralField
from neufield.networks import MLP
from neufield.parts import PARTS


def field() -> NeuralField:
    encoding = Composite([Grid(2, 2, 2, 4, generator=seeded()), Identity(1)])
    recipe = Recipe(lr=0.02, lr_factors={"network": 0.5}, schedule=Step(start=3), ema=0.9)
    return NeuralField(encoding, MLP(5, 3, 4, 3, skips=[1], generator=seeded()), recipe)


def with_setting(config: Config, setting: str) -> Config:
    return edited(config, [parse_setting(setting)], PARTS)


def config_of(part: str = "networks.MLP", **changes: object) -> dict:
    return {"type": part, "in_dim": 2, "out_dim": 3, **changes}


def test_describe_writes_the_constructor_call() -> None:
    assert describe(Frequency(2, 5)) == {"type": "encodings.Frequency", "in_dim": 2, "n_frequencies": 5}


def test_describe_nests_and_leaves_out_generators() -> None:
    config = describe(field())
    assert config["encoding"]["encodings"][0] == {
        "type": "encodings.Grid", "in_dim": 2, "n_levels": 2, "n_features_per_level": 2, "log2_hashmap_size": 4,
        "base_resolution": 16, "per_level_scale": 2.0, "storage": "hash", "interpolation": "linear",
    }  # fmt: skip
    assert config["encoding"]["starts"] == [0, 2]
    assert config["network"]["modulation"] is None
    assert config["recipe"]["schedule"]["type"] == "core.Step"
    assert config["recipe"]["lr_factors"] == {"network": 0.5}


def test_build_makes_the_same_field_from_json() -> None:
    original = field()
    rebuilt = build(json.loads(json.dumps(describe(original))), PARTS)
    assert describe(rebuilt) == describe(original)
    assert rebuilt.recipe == original.recipe
    rebuilt.load_state_dict(original.state_dict())
    x = torch.rand(4, 3, generator=seeded())
    assert torch.equal(rebuilt(x), original(x))


def test_build_hands_its_generator_to_every_part_that_draws() -> None:
    config = describe(field())
    grid = Grid(2, 2, 2, 4, generator=(generator := seeded(3)))
    network = MLP(5, 3, 4, 3, skips=[1], generator=generator)
    rebuilt = build(config, PARTS, generator=seeded(3))
    assert torch.equal(rebuilt.encoding.encodings[0].table, grid.table)
    assert torch.equal(rebuilt.network.layers[2].weight, network.layers[2].weight)


def test_build_turns_whole_numbers_into_floats_where_a_float_is_meant() -> None:
    scale = build({"type": "encodings.Identity", "in_dim": 1, "scale": 2}, PARTS).scale
    assert isinstance(scale, float)
    assert scale == 2.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "grid", "in_dim": 2}, r"config\.type is 'grid'.*did you mean 'Grid'\?"),
        ({"type": "Zzzzzz"}, r"'Zzzzzz'.*known: ActivationNetwork, .*Plenoxels"),
        ({"type": "Grid", "in_dim": 2}, r"config\.type is 'Grid'.*did you mean 'encodings\.Grid'\?"),
        ({"type": "encodings.Gird", "in_dim": 2}, r"did you mean 'encodings\.Grid'\?"),
        ({"in_dim": 2}, r"config\.type is None"),
        ({"type": "encodings.Frequency", "in_dim": 2, "n_frequencys": 3}, r"'n_frequencys'.*mean 'n_frequencies'\?"),
        ({"type": "encodings.Grid", "in_dim": 2, "generator": 3}, r"no option 'generator'"),
        ({"type": "encodings.Frequency", "n_frequencies": 3}, r"\(Frequency\) lacks 'in_dim'; add in_dim=\.\.\."),
        (config_of(width="wide"), r"config\.width is 'wide', but it must be a whole number"),
        (config_of(width=3.5), r"config\.width is 3\.5, but it must be a whole number"),
        (config_of(width=True), r"config\.width is True, but it must be a whole number"),
        (config_of(bias=1), r"config\.bias is 1, but it must be true or false"),
        (config_of(activation=7), r"config\.activation is 7, but it must be a word"),
        (
            {"type": "encodings.Identity", "in_dim": 1, "scale": "big"},
            r"config\.scale is 'big', but it must be a number",
        ),
        ({"type": "encodings.Identity", "in_dim": 1, "scale": True}, r"config\.scale is True, but it must be a number"),
        (config_of(width={"a": 1}), r"config\.width is \{'a': 1\}, but it must be a whole number"),
        (config_of(activation="rleu"), r"config \(MLP\): activation is 'rleu'"),
        (config_of(skips=["a"]), r"config\.skips\[0\] is 'a', but it must be a whole number"),
        (
            {"type": "encodings.Composite", "encodings": [{"type": "Identiti"}]},
            r"encodings\[0\]\.type is 'Identiti'.*'Identity'",
        ),
        (
            {"type": "core.Recipe", "schedule": {"type": "core.Step", "bas": 2.0}},
            r"config\.schedule \(Step\).*'bas'.*'base'",
        ),
        ("Grid", r"config is 'Grid', but it must be a part such as \{'type': 'encodings\.\w+'"),
        (
            {"type": "fields.NeuralField", "encoding": 3, "network": config_of()},
            r"encoding is 3, .* Composite or Frequency or",
        ),
        (
            {"type": "fields.NeuralField", "encoding": config_of(), "network": config_of()},
            r"encoding is 'MLP', but .*Composite",
        ),
        (
            {"type": "encodings.Composite", "encodings": [{"type": "core.Cosine"}]},
            r"encodings\[0\] is 'Cosine', but .*Composite or",
        ),
        (
            {"type": "core.Recipe", "schedule": "cosine"},
            r"schedule is 'cosine', .*Constant or Cosine or Exponential or Step",
        ),
        ({"type": "core.Recipe", "lr_factors": 2.0}, r"config\.lr_factors is 2\.0, but it must be an object"),
        (config_of(modulation="cam"), r"config\.modulation is 'cam', but it must be .*null"),
        (config_of(skips=3), r"config\.skips is 3, but it must be a list"),
        (config_of(skips="12"), r"config\.skips is '12', but it must be a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_build_says_where_it_is_wrong_and_what_was_meant(config: object, message: str) -> None:
    with without_type_checks(), pytest.raises(ConfigError, match=message):
        build(config, PARTS)


def test_build_can_only_make_what_the_table_names() -> None:
    with pytest.raises(ConfigError, match=r"'networks\.MLP', which is not a part we know; known: encodings\.Grid"):
        build(config_of(), {"encodings.Grid": Grid})


def test_a_setting_changes_one_value_and_nothing_else() -> None:
    config = describe(field())
    before = json.dumps(config)
    changed = with_setting(config, "network.width=32")
    assert changed["network"]["width"] == 32
    assert json.dumps(config) == before
    changed["network"]["width"] = config["network"]["width"]
    assert changed == config


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("network.activation=sine", "sine"),  # a word
        ('network.activation="sine"', "sine"),  # the same in JSON
        ("network.skips=[1, 2]", [1, 2]),
        ("network.bias=false", False),
        ("recipe.lr=1e-3", 1e-3),
        ("recipe.schedule.start=9", 9),
        ("recipe.lr_factors.network=0.25", 0.25),
        ("encoding.encodings.1.scale=0.5", 0.5),  # a part of a list, by its place
        ("encoding.starts.0=3", 3),
        ("network.activation=a=b", "a=b"),
    ],
)
def test_a_setting_is_json_or_else_a_word(setting: str, value: object) -> None:
    changed = with_setting(describe(field()), setting)
    for key in setting.partition("=")[0].split("."):
        changed = changed[int(key)] if key.isdigit() else changed[key]
    assert changed == value
    assert type(changed) is type(value)


def test_a_setting_can_swap_a_part_and_keeps_the_arguments_that_both_have() -> None:
    changed = with_setting(describe(Recipe(schedule=Cosine(0.25))), "schedule.type=Exponential")
    assert changed["schedule"] == {"type": "core.Exponential", "final": 0.25}
    network = with_setting(describe(field()), "network.type=Siren")["network"]
    assert network["type"] == "networks.Siren"
    assert network["width"] == 4
    assert "skips" not in network


def test_a_part_may_be_named_with_its_room_and_must_be_where_two_rooms_have_its_name() -> None:
    config = describe(field())
    assert edit(config, "encoding.type", "encodings.Grid", PARTS) == edit(config, "encoding.type", "Grid", PARTS)
    schedule = {"type": "core.Step", "start": 3}
    for given in (schedule, {"type": "Step", "start": 3}):
        assert edit(config, "recipe.schedule", given, PARTS)["recipe"]["schedule"] == schedule
    assert edit(config, "recipe.schedule", Step(start=3), PARTS)["recipe"]["schedule"] == describe(Step(start=3))
    own = type("Grid", (Grid,), {"__init__": Grid.__init__, "__module__": "mine"})
    parts = PARTS.and_also([own])
    assert edit(config, "encoding.type", "own.Grid", parts)["encoding"]["type"] == "own.Grid"
    with pytest.raises(
        ConfigError, match=r"there are encodings\.Grid and own\.Grid; write one of these instead of Grid"
    ):
        edit(config, "encoding.type", "Grid", parts)


def test_an_edit_is_named_as_it_was_given() -> None:
    with pytest.raises(ConfigError, match=r"^network\.widht=3: there is no 'widht' here; did you mean 'width'\?"):
        edit(describe(field()), "network.widht", 3, PARTS)
    assert str(Edit("network.skips", [1, 2])) == "network.skips=[1, 2]"
    assert parse_setting(str(Edit("network.activation", "true"))).value == "true"  # a word, not a truth


def test_a_setting_gives_a_part_that_is_null_a_type() -> None:
    config = with_setting(describe(field()), "network.modulation.type=CAM")
    changed = with_setting(config, "network.modulation.resolution=[3, 3, 3]")
    assert changed["network"]["modulation"] == {"type": "networks.CAM", "resolution": [3, 3, 3]}
    assert build(changed, PARTS).network.modulation.resolution == [3, 3, 3]


def test_settings_reach_into_the_defaults_of_a_part_just_named() -> None:
    config = with_setting(describe(Recipe()), "sample_selection.type=INT")
    changed = with_setting(config, "sample_selection.ratio.start=0.5")
    assert changed["sample_selection"]["ratio"] == {"type": "core.StepRatio", "start": 0.5, "final": 1.0, "stages": 10}
    assert changed["sample_selection"]["intervals"]["type"] == "core.Intervals"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.modulation.norm=none", r"'modulation' is null; give it a type first, with modulation\.type="),
        ("network.modulation.type=CMA", r"there is no part 'CMA'; did you mean 'CAM'\?"),
        ("network.width", r"--set 'network\.width' is not of the form key=value, for instance --set enc"),
        ("=3", r"'=3' is not of the form"),
        ("network..width=3", r"'network\.\.width=3' is not of the form"),
        ("netwrok.width=3", r"no 'netwrok' here; did you mean 'network'\?"),
        ("network.widht=3", r"--set network\.widht=3: there is no 'widht' here; did you mean 'width'\?"),
        ("recipe.schedule.bse=3", r"no 'bse' here; did you mean 'base'\?"),
        ("recipe.lr_factors.netork=3", r"no 'netork' here; did you mean 'network'\?"),
        ("network.width.more=3", r"'width' has no parts of its own; write width=value"),
        ("encoding.encodings.2.scale=3", r"'encodings' is a list of 2; write encodings\.0 to encodings\.1"),
        ("encoding.encodings.first=3", r"'encodings' is a list of 2"),
        ("encoding.encodings.1.scal=3", r"there is no 'scal' here; did you mean 'scale'\?"),
        ("encoding.starts.0.more=3", r"'starts\.0' has no parts of its own; write starts\.0=value"),
        ("encoding.type=gird", r"there is no part 'gird'; did you mean 'Grid'\?"),
        ("encoding.type=3", r"there is no part 3"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest_right_one(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_setting(describe(field()), setting)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("colour", ["color", "size"], "; did you mean 'color'?"),
        ("GRID", ["Grid", "Step"], "; did you mean 'Grid'?"),
        ("xyz", ["b", "a"], "; known: a, b"),
        ("xyz", [], ""),
    ],
)
def test_nearest(word: str, known: list[str], expected: str) -> None:
    assert nearest(word, known) == expected
