"""What each command may be told: the fields are the flags, their docstrings the help."""

from neufield.apps.options.distill import Distill
from neufield.apps.options.nerf import (
    NerfConvert,
    NerfDoctor,
    NerfEval,
    NerfExport,
    NerfProcess,
    NerfRender,
    NerfTrain,
    NerfView,
)
from neufield.apps.options.shared import Limits, Reading
from neufield.apps.options.signal import Compare, Doctor, Export, ExportAny, Fit, Import, Info, Render, View

__all__ = [
    "Compare",
    "Distill",
    "Doctor",
    "Export",
    "ExportAny",
    "Fit",
    "Import",
    "Info",
    "Limits",
    "NerfConvert",
    "NerfDoctor",
    "NerfEval",
    "NerfExport",
    "NerfProcess",
    "NerfRender",
    "NerfTrain",
    "NerfView",
    "Reading",
    "Render",
    "View",
]
