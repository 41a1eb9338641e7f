"""tiny-cuda-nn's configs and parameters, the field's lingua franca, to our fields and back."""

from neufield.tcnn.config import from_tcnn_config
from neufield.tcnn.params import from_tcnn_params, load_tcnn_params, to_tcnn_params

__all__ = ["from_tcnn_config", "from_tcnn_params", "load_tcnn_params", "to_tcnn_params"]
