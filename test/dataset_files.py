"""Small data sets in the exact layout of their formats, for tests to read. Sizes are tiny, numbers are not random."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 6, 8


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rgb(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Red, green and blue differ, so that a swap shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 200, np.arange(width), 30
    return image


def counts(*values: int) -> np.ndarray:
    """16 bits, 0 but for these values in the second row."""
    image = np.zeros((HEIGHT, WIDTH), np.uint16)
    image[1, : len(values)] = values
    return image


def kitti_selection(folder: Path, truth: bool = True) -> Path:
    root = folder / "depth_selection" / "val_selection_cropped"
    drive, end = "2011_09_26_drive_0002_sync", "0000000005_image_02"
    write_image(root / "image" / f"{drive}_image_{end}.png", rgb())
    write_image(root / "velodyne_raw" / f"{drive}_velodyne_raw_{end}.png", counts(2560, 3001))
    write_text(root / "intrinsics" / f"{drive}_image_{end}.txt", "721.5 0 596.5 0 722.5 149.8 0 0 1")
    if truth:
        write_image(root / "groundtruth_depth" / f"{drive}_groundtruth_depth_{end}.png", counts(2560, 2816, 25600))
    return root


KITTI_CAMERAS = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 4 0 4 2 0 4 3 0 0 0 1 0
P_rect_03: 5 0 4 0 0 5 3 0 0 0 1 0
"""
# The axes of the LiDAR: x ahead, y left, z up.
KITTI_LIDAR = "calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0.25\n"


def kitti_drives(folder: Path) -> Path:
    drive = folder / "train" / "2011_09_26_drive_0001_sync"
    write_image(drive / "proj_depth/velodyne_raw/image_03/0000000005.png", counts(512))
    write_image(drive / "proj_depth/groundtruth/image_03/0000000005.png", counts(768))
    raw = folder / "2011_09_26"
    write_image(raw / drive.name / "image_03/data/0000000005.png", rgb())
    write_text(raw / "calib_cam_to_cam.txt", KITTI_CAMERAS)
    return folder


def kitti_raw(folder: Path) -> Path:
    drive = folder / "2011_09_26" / "2011_09_26_drive_0001_sync"
    for number in range(3):
        write_image(drive / f"image_02/data/{number:010}.png", rgb())
    sweeps = drive / "velodyne_points/data"
    sweeps.mkdir(parents=True)
    # Ahead at x = 1.75 m, so at 2 m from the camera; its column is (4 * 0.5 + 4 * 2 + 2) / 2 = 6.
    points = np.array([[1.75, -0.5, 0.0, 0.9], [-5.0, 0.0, 0.0, 0.1]], np.float32)
    for number in (0, 2):  # the sweep of the second image is missing, as in some drives
        points.tofile(sweeps / f"{number:010}.bin")
    times = [f"2011-09-26 13:02:2{5 + number}.964389445" for number in range(3)]
    write_text(drive / "image_02/timestamps.txt", "\n".join(times) + "\n")
    write_text(drive.parent / "calib_cam_to_cam.txt", KITTI_CAMERAS)
    write_text(drive.parent / "calib_velo_to_cam.txt", KITTI_LIDAR)
    return drive


def kitti_object(folder: Path) -> Path:
    root = folder / "training"
    write_image(root / "image_2/000000.png", rgb())
    (root / "velodyne").mkdir()
    np.array([[1.75, -0.5, 0.0, 0.9]], np.float32).tofile(root / "velodyne/000000.bin")
    calibration = "P2: 4 0 4 2 0 4 3 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
    write_text(root / "calib/000000.txt", calibration + "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0.25\n")
    return folder


def sunrgbd(folder: Path, part: str = "kv1/b3dodata/img_0063") -> Path:
    frame = folder / "SUNRGBD" / part
    write_image(frame / "image/img_0063.jpg", rgb())
    write_image(frame / "depth/img_0063_abs.png", counts(8 * 2000, 8 * 8000 + 3))
    write_image(frame / "depth_bfx/img_0063_abs.png", counts(8 * 2000, 8 * 8000, 8))
    write_text(frame / "intrinsics.txt", "520.5 0 277.9\n0 520.7 215.1\n0 0 1\n")
    write_text(frame / "extrinsics/20141120185.txt", "1 0 0 0\n0 0 1 0\n0 -1 0 0\n")
    return folder / "SUNRGBD"


def tum(folder: Path, name: str = "rgbd_dataset_freiburg1_desk") -> Path:
    root = folder / name
    for stamp in ("100.000000", "100.050000", "200.000000"):
        write_image(root / f"rgb/{stamp}.png", rgb())
    for stamp in ("100.004000", "100.052000", "100.060000", "200.030000"):
        write_image(root / f"depth/{stamp}.png", counts(5000, 12345, 65535))
    head = "# color images\n# file: 'rgbd_dataset_freiburg1_desk.bag'\n# timestamp filename\n"
    write_text(root / "rgb.txt", head + "".join(f"{s} rgb/{s}.png\n" for s in ("100.000000", "100.050000",
                                                                              "200.000000")))  # fmt: skip
    stamps = ("100.004000", "100.052000", "100.060000", "200.030000")
    write_text(root / "depth.txt", head + "".join(f"{stamp} depth/{stamp}.png\n" for stamp in stamps))
    poses = "99.9 1.0 0 0 0 0 0 1\n100.1 3.0 0 0 0 0 0 1\n"
    write_text(root / "groundtruth.txt", "# ground truth trajectory\n# timestamp tx ty tz qx qy qz qw\n" + poses)
    return root


def scannet(folder: Path) -> Path:
    root = folder / "scene0000_00"
    for number in (0, 2, 10):
        write_image(root / f"color/{number}.jpg", rgb(2 * HEIGHT, 2 * WIDTH))
        write_image(root / f"depth/{number}.png", counts(1000, 0, 2345))
        pose = "1 0 0 0.5\n0 1 0 0\n0 0 1 0\n0 0 0 1" if number != 2 else "\n".join(["-inf -inf -inf -inf"] * 4)
        write_text(root / f"pose/{number}.txt", pose)
    for camera, scale in (("color", 2), ("depth", 1)):
        matrix = f"{8 * scale} 0 {3.5 * scale} 0\n0 {8 * scale} {2.5 * scale} 0\n0 0 1 0\n0 0 0 1\n"
        write_text(root / f"intrinsic/intrinsic_{camera}.txt", matrix)
        write_text(root / f"intrinsic/extrinsic_{camera}.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return root


def diml(folder: Path) -> Path:
    """The layout of the whole indoor set."""
    scene = folder / "warehouse" / "16.01.20" / "5"
    write_image(scene / "col/in_k_03_160225_000001_c.png", rgb())
    write_image(scene / "warp_png/in_k_03_160225_000001_wd.png", counts(1500))
    write_image(scene / "up_png/in_k_03_160225_000001_ud.png", counts(1500, 2500))
    return folder


def diml_samples(folder: Path) -> Path:
    scene = folder / "train/HR/11. Bedroom"
    write_image(scene / "color/in_k_11_000001_c.png", rgb())
    write_image(scene / "depth_filled/in_k_11_000001_depth_filled.png", counts(1500, 2500))
    return folder / "train"


def diml_outdoor(folder: Path) -> Path:
    write_image(folder / "HR/outleft/17_001.png", rgb())
    write_image(folder / "HR/depthmap/17_001.png", counts(20500))
    return folder


def write_pfm(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = f"Pf\n{values.shape[1]} {values.shape[0]}\n-0.003922\n".encode()
    path.write_bytes(header + values[::-1].astype("<f4").tobytes())


def middlebury_2014(folder: Path) -> Path:
    scene = folder / "Adirondack-perfect"
    write_image(scene / "im0.png", rgb())
    disparity = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    disparity[1, :2] = 90, 190
    write_pfm(scene / "disp0.pfm", disparity)
    camera = "cam0=[4000 0 1250.5; 0 4001 750.25; 0 0 1]\ncam1=[4000 0 1300; 0 4000 750; 0 0 1]\n"
    write_text(scene / "calib.txt", camera + "doffs=10\nbaseline=150\nwidth=8\nheight=6\nndisp=290\n")
    return folder


def middlebury_2005(folder: Path) -> Path:
    write_image(folder / "Art/view1.png", rgb())
    write_image(folder / "Art/disp1.png", counts(99, 0, 199).astype(np.uint8))
    write_text(folder / "Art/dmin.txt", "200\n")
    return folder


def middlebury_2003(folder: Path) -> Path:
    write_image(folder / "cones/im2.png", rgb())
    write_image(folder / "cones/disp2.png", counts(200, 50, 0, 100).astype(np.uint8))
    return folder


def sintel(folder: Path) -> Path:
    tag = np.array([202021.25], "<f4").tobytes()
    for scene in ("alley_1", "market_2"):
        for name in ("frame_0001", "frame_0002"):
            write_image(folder / "training/final" / scene / f"{name}.png", rgb())
            depth = np.full((HEIGHT, WIDTH), 1e12, "<f4")
            depth[1, :2] = 2.5, 30.0
            for kind in ("depth", "camdata_left"):
                (folder / "training" / kind / scene).mkdir(parents=True, exist_ok=True)
            size = np.array([WIDTH, HEIGHT], "<i4").tobytes()
            (folder / "training/depth" / scene / f"{name}.dpt").write_bytes(tag + size + depth.tobytes())
            matrix = [1120.0, 0, 3.5, 0, 1121.0, 2.5, 0, 0, 1]
            to_camera = [1.0, 0, 0, -2.0, 0, 1, 0, 0, 0, 0, 1, 0]
            camera = np.array(matrix + to_camera, "<f8").tobytes()
            (folder / "training/camdata_left" / scene / f"{name}.cam").write_bytes(tag + camera)
    return folder


def images(folder: Path) -> Path:
    write_image(folder / "color/a.png", rgb())
    write_image(folder / "color/b.png", rgb())
    write_image(folder / "color/without depth.png", rgb())
    write_image(folder / "depth/a.png", counts(1000, 4000))
    write_image(folder / "gt/a.png", counts(1000, 4000, 5000))
    np.save(folder / "depth/b.npy", np.where(counts(1) == 1, np.float32(1.25), np.float32(0)))
    write_text(folder / "intrinsics.txt", "50 51 3.5 2.5\n")
    return folder
