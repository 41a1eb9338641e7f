"""Names and papers -> radiance fields, each with the recipe that trains it.

Each takes a ``resolution``: how many details along an edge of the box the field is to hold, which scales its sizes. The
defaults are laptop sizes; each docstring says which one is the paper's. ``recipe.batch_size`` counts samples along
rays. Papers' rates are kept, their schedules where we have them; ``upsampled`` is for whoever runs the loop. Those that
take the ``code_dim`` of images' codes, 0 by default, can be told how each image differs from the others.
"""

from neufield.presets.radiance.encoded import *
from neufield.presets.radiance.perceptron import *
from neufield.presets.radiance.plenoxels import *
from neufield.presets.radiance.proposals import proposal_networks
from neufield.presets.radiance.tensorf import *
