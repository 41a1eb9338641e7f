"""Rays to pixels: cameras and their paths, samplers, the world's place in the unit box, and its surfaces."""

from neufield.renderers.cameras import Cameras
from neufield.renderers.hierarchical import Hierarchical
from neufield.renderers.look import look
from neufield.renderers.ndc import NDC
from neufield.renderers.normals import expected_normals
from neufield.renderers.path_files import (
    read_ingp_path,
    read_nerfstudio_frame,
    read_nerfstudio_path,
    write_ingp_path,
    write_nerfstudio_path,
)
from neufield.renderers.paths import interpolate, orbit, plain, spiral
from neufield.renderers.per_photograph import Appearance, Exposure
from neufield.renderers.pieces import kept_triangles, large_pieces, pieces
from neufield.renderers.posed import PosedField
from neufield.renderers.proposals import Proposals, inverse_transform, resample
from neufield.renderers.refinement import Refinement, rigid_motions
from neufield.renderers.regularisers import Distortion
from neufield.renderers.samplers import Occupancy, Stratified
from neufield.renderers.space import Box, Contraction, Space
from neufield.renderers.spacing import Spacing
from neufield.renderers.surface import PointCloud, isosurface, point_cloud, surface_colors, vertex_normals

__all__ = [
    "NDC",
    "Appearance",
    "Box",
    "Cameras",
    "Contraction",
    "Distortion",
    "Exposure",
    "Hierarchical",
    "Occupancy",
    "PointCloud",
    "PosedField",
    "Proposals",
    "Refinement",
    "Space",
    "Spacing",
    "Stratified",
    "expected_normals",
    "interpolate",
    "inverse_transform",
    "isosurface",
    "kept_triangles",
    "large_pieces",
    "look",
    "orbit",
    "pieces",
    "plain",
    "point_cloud",
    "read_ingp_path",
    "read_nerfstudio_frame",
    "read_nerfstudio_path",
    "resample",
    "rigid_motions",
    "spiral",
    "surface_colors",
    "vertex_normals",
    "write_ingp_path",
    "write_nerfstudio_path",
]
