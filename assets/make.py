"""Draws the pictures of this folder: ``python assets/make.py``. Needs numpy and Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, OVERSAMPLING, ITERATIONS = 768, 512, 3, 1500
CENTER, SPAN = -0.743643 + 0.131826j, 0.0045  # a seahorse of the Mandelbrot set
# Colours along the escape time: night, ocean, sand, ember.
PALETTE = np.array([[0.01, 0.03, 0.10], [0.05, 0.35, 0.55], [0.93, 0.86, 0.70], [0.95, 0.48, 0.12], [0.22, 0.02, 0.08]])


def escape(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth escape time and distance to the set of each point; zero distance inside."""
    time, distance = np.zeros(points.shape), np.zeros(points.shape)
    alive = np.arange(points.size)
    c = points.ravel()
    z, slope = np.zeros_like(c), np.zeros_like(c)
    for step in range(ITERATIONS):
        slope = 2 * z * slope + 1
        z = z * z + c
        out = np.abs(z) > 64
        if out.any():
            size = np.abs(z[out])
            time.ravel()[alive[out]] = step + 2 - np.log2(np.log(size))
            distance.ravel()[alive[out]] = size * np.log(size) / np.abs(slope[out])
            alive, c, z, slope = alive[~out], c[~out], z[~out], slope[~out]
    return time, distance


def seahorse() -> np.ndarray:
    """An RGB picture (512, 768, 3) uint8 with smooth swirls and filaments a pixel wide."""
    rows, columns = HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING
    x = ((np.arange(columns) + 0.5) / columns - 0.5) * SPAN
    y = ((np.arange(rows) + 0.5) / rows - 0.5) * SPAN * HEIGHT / WIDTH
    picture = np.empty((HEIGHT, WIDTH, 3))
    for band in np.split(np.arange(rows), HEIGHT // 8):
        time, distance = escape(CENTER + x[None, :] + 1j * y[band, None])
        place = np.mod(np.sqrt(time) * 0.55, 1.0) * len(PALETTE)
        below = place.astype(int)
        share = (place - below)[..., None]
        share = share * share * (3 - 2 * share)
        color = PALETTE[below % len(PALETTE)] * (1 - share) + PALETTE[(below + 1) % len(PALETTE)] * share
        edge = np.clip(distance / (SPAN / WIDTH), 0, 1) ** 0.4
        color = color * edge[..., None]
        blocks = color.reshape(-1, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean((1, 3))
        picture[band[0] // OVERSAMPLING : band[-1] // OVERSAMPLING + 1] = blocks
    return (np.clip(picture, 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8)


if __name__ == "__main__":
    Image.fromarray(seahorse()).save(Path(__file__).parent / "seahorse.png")
