"""instant-ngp's ``transforms.json``, as its ``nerf_loader.cu`` reads it and ``colmap2nerf.py`` writes it."""

from pathlib import Path
from typing import Any

from neufield.core.errors import DataError
from neufield.core.json_files import Keys, dumped, read_json
from neufield.formats.scene.box import box_keys, read_box
from neufield.formats.scene.image_writer import ImageWriter, save_text
from neufield.formats.scene.options import Options
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Depth, Frame, Mask, Scene
from neufield.formats.scene.transforms import DialectRules, depth_at, mask_at, name_in, read_frames
from neufield.formats.scene.unsupported import beyond, lost_split, naturally

_PIXELS = ("white_transparent", "black_transparent", "fix_premult", "sharpen", "envmap")


def read(file: Path, options: Options, notes: ReadLog) -> Scene:
    """Frames, masks beside the photographs, and the box in world units."""
    whole, root = read_json(file, "a scene"), file.parent
    turned = {"normal_mts_args": whole.has("normal_mts_args"), "from_mitsuba": whole.flag("from_mitsuba")}
    for key, is_so in turned.items():
        if is_so:
            raise DataError(
                f"{file} has '{key}': its camera axes are Mitsuba's, but OpenGL's were expected; "
                f"convert the matrices and remove the key"
            )
    for key in _PIXELS:
        if whole.has(key):
            notes.add("warning", key, f"In instant-ngp '{key}' changes the pixels; here it is ignored.")
    box = read_box(whole, notes)
    unit = whole.number("integer_depth_scale") if whole.has("integer_depth_scale") else 0.0
    if whole.has("enable_depth_loading") and not whole.flag("enable_depth_loading"):
        unit = 0.0

    def depth_of(entry: Keys) -> Depth | None:
        if name_in(entry, "depth_path", notes) and unit <= 0:
            notes.add(
                "warning", "depth_path", "Depths are left out: there is no 'integer_depth_scale', or they are off."
            )
            return None
        return depth_at(root, "depth_path", unit, entry, notes)

    def mask_of(entry: Keys, picture: Path) -> Mask | None:
        beside = mask_beside(picture)
        if not beside.is_file():
            mask = mask_at(root, entry, notes)
            if mask:
                notes.add("info", "mask_path", "'mask_path' is nerfstudio's: black is ignored.", picture.name)
            return mask
        if name_in(entry, "mask_path", notes):
            notes.add("warning", "mask_path", f"'mask_path' is ignored for {beside.name} beside the picture.")
        notes.add("info", "dynamic_mask", "In dynamic_mask_*.png what is not black is ignored.", picture.name)
        return Mask(beside, "white")

    habits = DialectRules(mask_of, depth_of, None, fov_first=True)
    frames = read_frames(whole, root, habits, options.holdout, options.images, notes)
    return Scene(tuple(frames), "instant-ngp", box=box)


def mask_beside(picture: Path) -> Path:
    """Where instant-ngp looks for the mask of ``picture``."""
    return picture.with_name(f"dynamic_mask_{picture.stem}.png")


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What this file cannot hold."""
    cameras = [frame.camera for frame in scene.frames]
    lost = [*beyond(scene, ("masks", "depths", "time", "box")), *lost_split(scene, naturally(scene))]
    if not copy and not all(map(_keeps_mask, scene.frames)):
        lost.append("the masks, which instant-ngp wants beside the pictures (copy_images=True puts them there)")
    count = sum(camera.lens == "opencv" and any(camera.distortion[2:4]) for camera in cameras)
    if count:
        lost.append(f"k3 and k4 of the lens, whose slots p1 and p2 take ({count} frames)")
    if len({frame.depth.unit for frame in scene.frames if frame.depth}) > 1:
        lost.append("the depths, which have different units")
    return lost


def _keeps_mask(frame: Frame) -> bool:
    """Whether the mask is where instant-ngp will look for it when the picture stays where it is."""
    return frame.mask is None or (
        frame.mask.ignored == "white" and frame.mask.path.name == mask_beside(Path(frame.name)).name
    )


def write(scene: Scene, folder: Path, image_writer: ImageWriter) -> None:
    """One file; intrinsics stand with every frame, since instant-ngp lets frames override the file."""
    units = {frame.depth.unit for frame in scene.frames if frame.depth}
    document: dict[str, Any] = {}
    if scene.box:
        document |= box_keys(scene.box)
    if len(units) == 1:
        document |= {"integer_depth_scale": units.pop(), "enable_depth_loading": True}
    document["frames"] = [_entry(frame, image_writer, "integer_depth_scale" in document) for frame in scene.frames]
    save_text(folder / "transforms.json", dumped(document))


def _entry(frame: Frame, image_writer: ImageWriter, depths: bool) -> dict[str, Any]:
    camera = frame.camera
    entry: dict[str, Any] = {"file_path": image_writer.picture(frame), "w": camera.width, "h": camera.height}
    entry |= {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
    k1, k2, k3, k4, p1, p2 = camera.distortion
    if camera.lens == "fisheye":  # p1 and p2, even as zeros, would overwrite k3 and k4 in instant-ngp
        entry |= {"is_fisheye": True, "k1": k1, "k2": k2, "k3": k3, "k4": k4}
    else:
        entry |= {"k1": k1, "k2": k2, "p1": p1, "p2": p2}
    image_writer.mask_beside(frame, mask_beside(Path(entry["file_path"])))
    if frame.depth and depths:
        entry["depth_path"] = image_writer.depth(frame)
    if frame.time is not None:
        entry["time"] = frame.time
    return entry | {"transform_matrix": camera.to_world.tolist()}
