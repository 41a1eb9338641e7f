"""Every preset and every radiance preset in what others put around it: copies, precisions, wrappers, hooks."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from autograd_cases import MODELS, directions, inputs
from cases import seeded, without_type_checks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import neufield as nf
from neufield.core.errors import ConfigError
from neufield.core.records import StepContext
from neufield.presets import names

# torch's own: a backward hook at points that require no gradient fires when the outputs' is known.
# And torch.func.jvp makes use of what torch itself has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Grad strides do not match:UserWarning"),  # of an axis of 1, where none matters
    pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]
every_model = pytest.mark.parametrize("name", MODELS)
every_preset = pytest.mark.parametrize("name", names())


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = tmp_path_factory.mktemp("gloo") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def picture() -> nf.signals.Image:
    return nf.signals.Image(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8))


def inner(model: nn.Module) -> nn.Module:
    """The field itself, of what is a function of one tensor."""
    return getattr(model, "field", model)


@every_model
def test_a_copy_is_the_same_function(name: str) -> None:
    model = MODELS[name]()
    x = inputs(model)
    expected = model(x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), expected)
    other = MODELS[name]()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), expected)


@every_model
def test_under_autocast_values_and_gradients_are_those_of_bfloat16(name: str) -> None:
    model = MODELS[name]()
    x = inputs(model)
    exact = copy.deepcopy(model).double()(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    found = torch.autograd.grad(y.float().sum(), list(model.parameters()), materialize_grads=True)
    assert all(gradient.dtype == torch.float32 and bool(gradient.isfinite().all()) for gradient in found)
    assert any(bool(gradient.any()) for gradient in found)
    # Measured: 0.09 where Gaussians of 30 z are drawn from z of 8 bits, elsewhere up to 0.05.
    assert bool((y.double() - exact).norm() < 0.2 * exact.norm())


@every_model
def test_distributed_data_parallel_makes_the_same_gradients(name: str, one_process: None, tmp_path: Path) -> None:
    model = MODELS[name]()
    x = inputs(model)
    expected = torch.autograd.grad(model(x).sum(), list(model.parameters()), materialize_grads=True)
    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    parallel(x).sum().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(torch.zeros_like(gradient) if parameter.grad is None else parameter.grad, gradient)
    field = inner(model)
    nf.save(DistributedDataParallel(field), tmp_path / "field.safetensors", storage="float32")
    again = nf.load(tmp_path / "field.safetensors")
    for key, value in field.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


@every_preset
def test_what_compile_and_sequential_wrap_is_saved(name: str, tmp_path: Path) -> None:
    field, path = MODELS[name](), tmp_path / "field.safetensors"
    for wrapper in (torch.compile(field, backend="eager"), nn.Sequential(field), nn.Sequential(nn.Sequential(field))):
        nf.save(wrapper, path, storage="float32")
        assert all(torch.equal(value, field.state_dict()[key]) for key, value in nf.load(path).state_dict().items())


def test_what_holds_more_than_one_field_is_refused(tmp_path: Path) -> None:
    field, path = MODELS["siren"](), tmp_path / "field.safetensors"
    for model, said in {
        nn.Sequential(field, nn.Sigmoid()): r"Sequential was given.*beside it.*model.get_submodule\(name\) of '0'$",
        nn.ModuleDict({"a": field, "b": MODELS["ngp"]()}): r"ModuleDict.*'a', 'b'$",
        torch.optim.swa_utils.AveragedModel(field): r"AveragedModel.*'module'$",
        nn.Linear(2, 3): r"Linear was given, but what is saved is a field, such as nf.presets has$",
    }.items():
        with pytest.raises(ConfigError, match=said):
            nf.save(model, path)
    assert not path.exists()


@every_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_points_of_another_precision_are_refused_with_the_remedy(name: str, dtype: torch.dtype) -> None:
    model = MODELS[name]()
    with pytest.raises(
        TypeError, match=rf"is {dtype}, but this field computes in torch.float32; call .\.to\(torch.float32"
    ):
        model(inputs(model).to(dtype))


def test_what_wraps_a_field_is_trained_as_the_field(one_process: None) -> None:
    recipe = nf.Recipe(steps=2, batch_size=64)
    expected = nf.fit(MODELS["siren"](), picture(), recipe).model.state_dict()
    for wrap in (DistributedDataParallel, nn.Sequential, lambda field: torch.compile(field, backend="eager")):
        field = MODELS["siren"]()
        state = nf.fit(wrap(field), picture(), recipe)
        assert state.model is field
        assert all(torch.equal(value, expected[key]) for key, value in field.state_dict().items())


def test_what_is_no_field_is_not_trained() -> None:
    for model, said in {
        nn.Linear(2, 3): r"^a Linear was given, but what is trained is a field, such as nf.presets has$",
        nn.Sequential(MODELS["siren"](), nn.Sigmoid()): r"^a Sequential.*trained.*give the field alone, model\.get_sub",
        nf.presets.radiance.voxels(): r"Plenoxels was given, but .* points to values; .*RadianceScene",
        "siren": r"^a str was given, but what is trained is a field",
    }.items():
        with without_type_checks(), pytest.raises(ConfigError, match=said):
            nf.fit(model, picture())


def test_a_field_that_processes_share_is_not_trained_by_one_alone(one_process: None, monkeypatch) -> None:
    shared = DistributedDataParallel(MODELS["siren"]())
    monkeypatch.setattr(type(shared.process_group), "size", lambda group: 2)
    with pytest.raises(ConfigError, match="shared by 2 processes was given, but fit trains within one"):
        nf.fit(shared, picture())


@every_preset
def test_a_field_of_float64_is_fitted(name: str) -> None:
    field = MODELS[name]().double()
    state = nf.fit(field, picture(), nf.Recipe(lr=1e-3, steps=2, batch_size=64))
    assert {p.dtype for p in field.parameters()} == {torch.float64}
    assert state.step == 2


@every_preset
def test_with_float64_as_default_fields_are_built_and_fitted(name: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        field = MODELS[name]()
        x = inputs(field)
        by_parameters = torch.func.jvp(
            lambda p: torch.func.functional_call(field, p, (x,)),
            (dict(field.named_parameters()),),
            (directions(field),),
        )
        state = nf.fit(field, picture(), nf.Recipe(lr=1e-3, steps=2, batch_size=64))
    finally:
        torch.set_default_dtype(torch.float32)
    assert by_parameters[1].dtype == torch.float64
    assert bool(by_parameters[1].any())
    assert state.step == 2


def trained_once(field: nn.Module) -> list[torch.Tensor]:
    field.zero_grad()
    batch = picture().sample(64, seeded())
    nf.fitting.Regression("l2")(field, batch, StepContext(0, 0.0, seeded())).loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in field.parameters()]


@every_preset
def test_hooks_are_called_where_a_kernel_would_compute_all_in_one(name: str) -> None:
    field = MODELS[name]()
    plain = trained_once(field)
    parts = {"field": field, "encoding": field.encoding, "network": field.network}
    parts |= {key: module for key, module in field.named_modules() if isinstance(module, nn.Linear)}
    called: list[str] = []
    handles = []
    for key, part in parts.items():
        handles += [
            part.register_forward_pre_hook(lambda *_, key=key: called.append(f"before {key}")),
            part.register_forward_hook(lambda *_, key=key: called.append(f"after {key}")),
            part.register_full_backward_hook(lambda *_, key=key: called.append(f"back {key}")),
        ]
    watched = trained_once(field)
    known = {f"{when} {key}" for when in ("before", "after", "back") for key in parts}
    # What has nothing to learn is not gone back through, and Bacon reads some of its maps as numbers.
    assert known - set(called) <= {f"back {key}" for key in parts if not list(parts[key].parameters())}
    for handle in handles:
        handle.remove()
    for one, other in zip(plain, watched, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
    for part in (field, field.network):
        with part.register_forward_hook(lambda _, __, y: 2 * y):
            torch.testing.assert_close(field(inputs(field)), 2 * MODELS[name]()(inputs(field)))


def test_compiled_and_exported() -> None:
    """In a process of its own: torch cannot trace the type checks in signatures."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--override-ini=addopts=", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "compile_checks.py"],
        cwd=Path(__file__).parent, env=os.environ, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
