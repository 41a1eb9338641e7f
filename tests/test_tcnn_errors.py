"""tiny-cuda-nn's JSON files, and every mistake in them: named, with the nearest right word."""

from pathlib import Path

import pytest
from cases import without_type_checks

from neufield.core.errors import ConfigError, DataError
from neufield.tcnn import from_tcnn_config

IDENTITY = {"otype": "Identity"}
ADAM = {"otype": "Adam"}


def test_a_file_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        """{ // the whole field
        "encoding": {"otype": "Frequency", /* not 12
        */ "n_frequencies": 3},
        "network": {"otype": "MLP", "n_neurons": 8} // small
        }"""
    )
    for given in (path, str(path)):
        field = from_tcnn_config(given, 2, 3)
        assert field.encoding.n_frequencies == 3
        assert field.network.width == 8


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"encoding": {"otype": "Identity"}}', encoding="utf-8-sig")
    assert from_tcnn_config(path, 2, 3).encoding.scale == 1.0


def test_slashes_inside_a_string_are_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(r'{"encoding": {"otype": "http://a /* b */ \" // c"}}')
    with pytest.raises(ConfigError, match=r"otype is 'http://a /\* b \*/ \" // c'"):
        from_tcnn_config(path)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent\.json.*give the path of a tiny-cuda-nn JSON config"):
        from_tcnn_config(tmp_path / "absent.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{\n"encoding": \n')
    with pytest.raises(DataError, match=r"broken\.json is not valid JSON: .* at line 3, "):
        from_tcnn_config(broken)
    broken.write_text("[1, 2]")
    with pytest.raises(DataError, match=r"broken\.json is \[1, 2\], but an object with keys was expected"):
        from_tcnn_config(broken)
    broken.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"broken\.json is not text in UTF-8"):
        from_tcnn_config(broken)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"encodng": {}}, r"config has an unknown key 'encodng'; did you mean 'encoding'\?"),
        ({"encoding": 3}, r"encoding is 3, but it must be a JSON object"),
        ({"encoding": {"otype": "HashGird"}}, r"encoding\.otype is 'HashGird'.*did you mean 'hashgrid'\?"),
        ({"encoding": {"otype": "HashGrid", "n_level": 3}}, r"encoding has an unknown key 'n_level'; .*'n_levels'\?"),
        ({"encoding": {"otype": "Frequency", "degree": 3}}, r"unknown key 'degree'; known: n_frequencies, otype"),
        ({"encoding": {"otype": "Grid", "type": "Sparse"}}, r"encoding: storage is 'sparse'.*'hash', 'dense', 'tiled'"),
        ({"encoding": {"otype": "Grid", "interpolation": "Cubic"}}, r"encoding: interpolation is 'cubic'"),
        ({"encoding": {"otype": "Grid", "hash": "Prime"}}, r"encoding\.hash is 'Prime'.*use 'CoherentPrime'"),
        ({"encoding": {"otype": "Grid", "stochastic_interpolation": True}}, r"stochastic_interpolation is True"),
        ({"encoding": {"otype": "Grid", "fixed_point_pos": True}}, r"fixed_point_pos is True"),
        ({"encoding": {"otype": "Grid", "n_features": 8, "n_levels": 4}}, r"both n_features and n_levels"),
        ({"encoding": {"otype": "Grid", "n_levels": 0}}, r"encoding: n_levels is 0"),
        (
            {"encoding": {"otype": "Grid", "n_levels": "4"}},
            r"encoding\.n_levels is '4', but it must be a whole number, such as 16",
        ),
        (
            {"encoding": {"otype": "Grid", "n_features": 8, "n_features_per_level": 0}},
            r"encoding: .*n_features_per_level",
        ),
        ({"encoding": {"otype": "Grid", "type": "Dense", "base_resolution": 0}}, r"encoding: .*base_resolution"),
        ({"encoding": {"otype": "OneBlob", "n_bins": 12}}, r"encoding: n_bins is 12"),
        ({"encoding": {"otype": "SphericalHarmonics"}}, r"encode 3 dims \(a direction\), not 2"),
        ({"encoding": {"otype": "NRC"}}, r"encoding: the nested encodings take 8 dims, but the input has 2"),
        ({"encoding": {"otype": "Composite"}}, r"encoding: Composite needs at least one encoding"),
        (
            {"encoding": {"otype": "Composite", "nested": [IDENTITY, IDENTITY]}},
            r"only one .* leave out 'n_dims_to_encode'",
        ),
        (
            {"encoding": {"otype": "Composite", "nested": [{"otype": "Identity", "scal": 2}]}},
            r"encoding\.nested\[0\] has an unknown key 'scal'; did you mean 'scale'\?",
        ),
        (
            {"encoding": {"otype": "Composite", "nested": [{**IDENTITY, "n_dims_to_encode": 3}]}},
            r"take 3 dims, but the input has 2",
        ),
        (
            {"encoding": {"otype": "Composite", "nested": [{**IDENTITY, "n_dims_to_encode": 1}]}},
            r"encoding reads 1 dims, but the input has 2",
        ),
        (
            {
                "encoding": {
                    "otype": "Composite",
                    "nested": [{**IDENTITY, "n_dims_to_encode": 2, "dims_to_encode_begin": 5}],
                }
            },
            r"encoding reads 7 dims, but the input has 2",
        ),
        (
            {"encoding": {"otype": "Composite", "nested": [IDENTITY], "reduction": "Mean"}},
            r"encoding: reduction is 'mean'",
        ),
        ({"network": {"otype": "ResNet"}}, r"network\.otype is 'ResNet', which neufield does not have"),
        ({"network": {"n_neuron": 64}}, r"network has an unknown key 'n_neuron'; did you mean 'n_neurons'\?"),
        ({"network": {"activation": "Swish"}}, r"network\.activation is 'Swish'"),
        ({"network": {"output_activation": "Sigmod"}}, r"network\.output_activation is 'Sigmod'.*mean 'sigmoid'\?"),
        (
            {"network": {"otype": "FullyFusedMLP", "n_neurons": 48}},
            r"n_neurons is 48.*16, 32, 64 or 128; use CutlassMLP",
        ),
        ({"encoding": {"otype": "Composite", "nested": [3]}}, r"encoding: .*int"),
        (
            {"encoding": {"otype": "Identity", "scale": "2"}},
            r"encoding\.scale is '2', but it must be a number, such as 1\.0",
        ),
        ({"network": {"n_neurons": 64.5}}, r"network\.n_neurons is 64\.5, but it must be a whole number, such as 128"),
        ({"optimizer": {"learning_rate": True}}, r"optimizer\.learning_rate is True"),
        ({"network": {"n_neurons": 0}}, r"network: width is 0"),
        ({"network": {"n_hidden_layers": -1}}, r"network: .*n_hidden_layers is -1"),
        ({"loss": {"otype": "CrossEntropy"}}, r"loss\.otype is 'CrossEntropy', which neufield does not have"),
        ({"loss": {"otype": "RelativeL3"}}, r"loss\.otype is 'RelativeL3'.*did you mean 'relativel[12]'\?"),
        ({"loss": {"otype": "L2", "scale": 2}}, r"loss has an unknown key 'scale'"),
        ({"optimizer": {"otype": "Shampoo"}}, r"optimizer\.otype is 'Shampoo', which neufield does not have"),
        (
            {"optimizer": {"learnin_rate": 1}},
            r"optimizer has an unknown key 'learnin_rate'; did you mean 'learning_rate'\?",
        ),
        ({"optimizer": {"learning_rate": -0.5}}, r"optimizer: lr is -0\.5"),
        ({"optimizer": {"otype": "Ema", "decay": 1.5}}, r"optimizer\.nested: ema is 1\.5"),
        ({"optimizer": {"adabound": True}}, r"optimizer\.adabound is True"),
        ({"optimizer": {"relative_decay": 0.01}}, r"optimizer\.relative_decay is 0\.01"),
        ({"optimizer": {"absolute_decay": 1}}, r"optimizer\.absolute_decay is 1"),
        ({"optimizer": {"otype": "Ema", "nested": {"otype": "SGD"}}}, r"optimizer\.nested\.otype is 'SGD'"),
        (
            {"optimizer": {"otype": "Ema", "decy": 0.9, "nested": ADAM}},
            r"optimizer has an unknown key 'decy'; .*'decay'\?",
        ),
        (
            {"optimizer": {"otype": "ExponentialDecay", "decay_strat": 9, "nested": ADAM}},
            r"optimizer has an unknown key 'decay_strat'; did you mean 'decay_start'\?",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_mistakes_are_refused_with_their_place_and_the_nearest_word(config: dict, message: str) -> None:
    with without_type_checks(), pytest.raises(ConfigError, match=message):
        from_tcnn_config({"encoding": IDENTITY, **config}, 2, 3)


def test_a_config_says_what_is_different_from_its_parents(tmp_path: Path) -> None:
    """As instant-ngp's: relative to the file that names it, objects key by key, null for a key that is taken away."""
    (tmp_path / "nerf").mkdir()
    (tmp_path / "base.json").write_text(
        '{"encoding": {"otype": "Frequency", "n_frequencies": 5}, "network": {"otype": "MLP", "n_neurons": 8},'
        ' "loss": {"otype": "L1"}, "optimizer": {"otype": "Adam", "learning_rate": 0.5}}'
    )
    (tmp_path / "nerf/wide.json").write_text('{"parent": "../base.json", "network": {"n_neurons": 24}}')
    (tmp_path / "nerf/mine.json").write_text('{"parent": "wide.json", "loss": null, "encoding": {"n_frequencies": 3}}')
    field = from_tcnn_config(tmp_path / "nerf/mine.json")
    assert field.encoding.n_frequencies == 3
    assert field.network.width == 24
    assert field.recipe.loss == "relative_l2"  # tiny-cuda-nn's own, where none is given
    assert field.recipe.lr == 0.5


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ('"a.json"', r"a\.json: 'parent' a\.json leads back to itself"),
        ('"b.json"', r"b\.json: 'parent' a\.json leads back to itself"),
        ('"absent.json"', r"cannot read .*absent\.json"),
        ("3", r"'parent' is 3, but the name of a JSON config"),
        ('""', r"'parent' is '', but the name of a JSON config"),
    ],
)
def test_parents_that_lead_nowhere(parent: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f'{{"parent": {parent}}}')
    (tmp_path / "b.json").write_text('{"parent": "a.json"}')
    with pytest.raises((ConfigError, DataError), match=message):
        from_tcnn_config(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="give the path of the file instead"):
        from_tcnn_config({"parent": "a.json"})


@pytest.mark.parametrize("config", [None, [], 3, ["encoding"] * 100])
def test_what_is_no_config_at_all_is_refused(config: object) -> None:
    with (
        without_type_checks(),
        pytest.raises(ConfigError, match=r"^config is .*; give the path of its JSON file, or a"),
    ):
        from_tcnn_config(config)
