"""Builds native/ into one shared library inside the package; without a C++ compiler the package is pure Python."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"]
# One compilation of native/kernels.cpp for each instruction set; the library chooses among them when it is loaded.
_ISAS = {"portable": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    _ISAS |= {"avx2": ["-mavx2", "-mfma"], "avx512": _AVX512, "avx512bf16": [*_AVX512, "-mavx512bf16"]}
    if platform.system() == "Linux":  # elsewhere nobody has shown how a process asks for the tiles
        _ISAS["amx"] = [*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-DNF_AMX"]
_REQUIRED = bool(os.environ.get("NEUFIELD_REQUIRE_NATIVE"))  # then a kernel that fails stops the installation


class BuildNative(build_ext):
    """Plain shared library instead of a Python extension: it knows neither Python's ABI nor torch's."""

    def get_ext_filename(self, fullname: str) -> str:
        """The file's name without a Python version in it."""
        return str(Path(*fullname.split("."))) + (".dll" if os.name == "nt" else ".so")

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """None: the header says what is exported."""
        del ext
        return []

    def build_extension(self, ext: Extension) -> None:
        """Build, or say in one line why not; an optional extension that fails does not stop the installation."""
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "c++", "clang++")), "")
        try:
            self._build(compiler, Path(self.get_ext_fullpath(ext.name)).resolve())
        except (OSError, subprocess.CalledProcessError, CompileError) as error:
            raise CompileError(f"no native kernels, PyTorch will do their work: {error}") from None

    def _build(self, compiler: str, target: Path) -> None:
        """Compile for each instruction set that the compiler knows, and link."""
        flags = _FLAGS + os.environ.get("NEUFIELD_CXXFLAGS", "").split()
        folder = Path(self.build_temp).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        threads = ["-fopenmp"] if self._compiles(compiler, ["-fopenmp"]) else ["-pthread"]
        isas = {isa: extra for isa, extra in _ISAS.items() if self._compiles(compiler, extra)}
        command = [compiler, *flags, *threads]
        running = {}
        for isa, extra in isas.items():
            object_file = str(folder / f"{isa}.o")
            arguments = ["native/kernels.cpp", f"-DNF_ISA={isa}", *extra, "-c", "-o", object_file]
            running[isa] = (object_file, subprocess.Popen([*command, *arguments]))
        built = {isa: object_file for isa, (object_file, process) in running.items() if process.wait() == 0}
        if failed := sorted(isas.keys() - built.keys()):  # as GCC 12 may, with an internal error, where others do not
            sentence = f"the compiler failed on the kernels for {', '.join(failed)}"
            if _REQUIRED or "portable" in failed:
                raise CompileError(sentence)
            self.warn(f"{sentence}; the others will do their work, more slowly")
        interface = str(folder / "interface.o")
        have = [f"-DNF_HAVE_{isa.upper()}" for isa in built]
        subprocess.run([*command, "native/interface.cpp", *have, "-c", "-o", interface], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command, "-shared", *built.values(), interface, "-o", str(target)], check=True)

    @staticmethod
    def _compiles(compiler: str, flags: list[str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text("int main() { return 0; }\n")
            command = [compiler, *flags, str(source), "-o", str(Path(folder, "probe"))]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


class PlatformWheel(bdist_wheel):
    """One wheel a platform, for every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python, no ABI, this platform; a wheel without the library would do for any."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("neufield.kernels.libneufield", ["native/kernels.cpp"], optional=not _REQUIRED)],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": PlatformWheel},
)
