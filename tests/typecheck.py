"""Every function of the package checks its signature while tests run: types by beartype, shapes by jaxtyping.

What jaxtyping's own hook does, at a third of its cost, which was a third of the suite's: it binds the arguments of
every call to the signature, and checks them twice, also where no shape is named. ``conftest.py`` installs it.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jaxtyping
from beartype import BeartypeConf, beartype

# An int is welcome where a float is expected.
_CONF = BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError)
_VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]  # of what is compiled and kept


def checked(thing: Any) -> Any:
    """The function with its signature checked at each call; of a class, the ``__init__`` that dataclass made."""
    if isinstance(thing, type):
        if dataclasses.is_dataclass(thing) and "__init__" in vars(thing) and not hasattr(thing.__init__, "unchecked"):
            thing.__init__ = checked(thing.__init__)
        return thing
    if isinstance(thing, (classmethod, staticmethod)):
        return type(thing)(checked(thing.__func__))
    if isinstance(thing, property):
        return property(*(function and checked(function) for function in (thing.fget, thing.fset, thing.fdel)))
    return _checked(thing) if inspect.isfunction(thing) and thing.__annotations__ else thing


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    written = function.__annotations__
    function.__annotations__ = {name: _resolved(hint, function.__globals__) for name, hint in written.items()}
    shaped = any(map(_has_shape, function.__annotations__.values()))
    try:
        sure = beartype(conf=_CONF)(function)
    finally:
        function.__annotations__ = written
    config = jaxtyping.config

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        return sure(*args, **kwargs)

    @functools.wraps(function)
    def call_with_shapes(*args: Any, **kwargs: Any) -> Any:
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        with jaxtyping.jaxtyped("context"):  # in which a name of an axis has one size
            return sure(*args, **kwargs)

    found = call_with_shapes if shaped else call
    found.__annotations__, found.unchecked = written, function
    return found


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation says; Any where it names what is not there when the function is made."""
    holder = type("holder", (), {"__annotations__": {"hint": hint}})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["hint"]
    except (NameError, AttributeError):
        return Any


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, typing.get_args(hint)))


class _Decorating(ast.NodeTransformer):
    """Writes ``@checked`` to every function, innermost, and to every class, outermost."""

    def _visit(self, node: Any, at: int) -> Any:
        if any("no_type_check" in ast.unparse(decorator) for decorator in node.decorator_list):
            return node
        self.generic_visit(node)
        decorator = ast.copy_location(ast.Name("__checked__", ast.Load()), node)
        node.decorator_list.insert(at, decorator)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return self._visit(node, len(node.decorator_list))

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return self._visit(node, 0)


class _Loader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        tree = _Decorating().visit(ast.parse(data, path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> Any:
        cached = functools.partial(importlib.util.cache_from_source, optimization=f"checked{_VERSION}")
        with patch("importlib._bootstrap_external.cache_from_source", lambda path, *, optimization=None: cached(path)):
            return super().get_code(fullname)

    def exec_module(self, module: Any) -> None:
        module.__checked__ = checked
        super().exec_module(module)


@dataclasses.dataclass(frozen=True)
class _Finder:
    package: str

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] != self.package:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install(package: str) -> None:
    """Check the signatures of what is imported of ``package`` from now on."""
    assert package not in sys.modules, f"{package} was imported before its signatures could be checked"
    sys.meta_path.insert(0, _Finder(package))
