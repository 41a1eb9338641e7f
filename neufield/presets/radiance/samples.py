"""Samples a step, for runs of minutes on a CPU: many small steps. The papers have 2^16 to 2^18."""

FUSED_SAMPLES = 2**13  # where a native operator goes along rays
SAMPLES = 2**12  # where it does not
VOXEL_SAMPLES = 2**15  # where moving all parameters takes most of a step
