"""The connected pieces of a surface of triangles."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def pieces(faces: Int[Tensor, "F 3"], n_vertices: int) -> Int[Tensor, " F"]:
    """Number the connected pieces: each triangle gets the lowest vertex that can be reached from it along edges."""
    label = torch.arange(n_vertices)
    a, b = faces[:, [0, 1]].flatten(), faces[:, [1, 2]].flatten()
    while True:
        # Of two neighbors' representatives the higher one takes the lower one's, then everybody its representative's.
        x, y = label[a], label[b]
        if torch.equal(x, y):
            return label[faces[:, 0]]
        label.scatter_reduce_(0, torch.maximum(x, y), torch.minimum(x, y), "amin")
        while not torch.equal(label, again := label[label]):
            label = again


def areas(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, " F"]:
    """The area of each triangle, float64."""
    corners = vertices.double()[faces]
    return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2


def large_pieces(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], least: float) -> Bool[Tensor, " F"]:
    """Mark the triangles of pieces of at least ``least`` times the largest one's area; 1 is that one alone."""
    names, place = pieces(faces, len(vertices)).unique(return_inverse=True)
    area = torch.zeros(len(names), dtype=torch.float64).index_add_(0, place, areas(vertices, faces))
    if least >= 1:
        return place == area.argmax()
    return (area >= least * area.max())[place]


def kept_triangles(
    vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], keep: Bool[Tensor, " F"]
) -> tuple[Float[Tensor, "W 3"], Int[Tensor, "G 3"]]:
    """Keep some triangles, and the vertices that these have."""
    used, kept = torch.unique(faces[keep], return_inverse=True)
    return vertices[used], kept.view(-1, 3)
