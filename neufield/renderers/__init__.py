"""Rays to pixels: cameras and their paths, samplers, the world's place in the unit box, and its surfaces."""

from neufield.renderers.cameras import Cameras
from neufield.renderers.hierarchical import HierarchicalSampler
from neufield.renderers.ndc import NDC
from neufield.renderers.normals import expected_normals
from neufield.renderers.paths import interpolate, orbit, plain, spiral
from neufield.renderers.per_image import AppearanceEmbedding, Exposure
from neufield.renderers.pieces import kept_triangles, large_pieces, pieces
from neufield.renderers.poses import Forward, Nearby, PoseSampler, Rings
from neufield.renderers.proposals import ProposalSampler, inverse_transform, resample
from neufield.renderers.radiance_scene import RadianceScene
from neufield.renderers.refinement import PoseRefinement, rigid_motions
from neufield.renderers.regularizers import Distortion
from neufield.renderers.render import render_rays
from neufield.renderers.samplers import OccupancyGrid, StratifiedSampler
from neufield.renderers.scene_bounds import Box, Contraction, SceneBounds
from neufield.renderers.spacing import Spacing
from neufield.renderers.surface import PointCloud, isosurface, point_cloud, surface_colors, vertex_normals
from neufield.renderers.volume_rendering import cull, integrate, sample, shade

__all__ = [
    "NDC",
    "AppearanceEmbedding",
    "Box",
    "Cameras",
    "Contraction",
    "Distortion",
    "Exposure",
    "Forward",
    "HierarchicalSampler",
    "Nearby",
    "OccupancyGrid",
    "PointCloud",
    "PoseRefinement",
    "PoseSampler",
    "ProposalSampler",
    "RadianceScene",
    "Rings",
    "SceneBounds",
    "Spacing",
    "StratifiedSampler",
    "cull",
    "expected_normals",
    "integrate",
    "interpolate",
    "inverse_transform",
    "isosurface",
    "kept_triangles",
    "large_pieces",
    "orbit",
    "pieces",
    "plain",
    "point_cloud",
    "render_rays",
    "resample",
    "rigid_motions",
    "sample",
    "shade",
    "spiral",
    "surface_colors",
    "vertex_normals",
]
