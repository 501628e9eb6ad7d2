"""From light to the picture that a camera takes: exposure, colour, lens, noise, tone curve, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np


def photograph(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 of linear light (H, W, 3) float32, with the faults of a random camera."""
    height, width = light.shape[:2]
    level = float(np.sqrt(light[::4, ::4].clip(0)).mean()) ** 2  # small bright areas count little
    luck = rng.random()
    wrong = rng.uniform(0.05, 0.35) if luck < 0.06 else rng.uniform(1.8, 3) if luck > 0.94 else 1.0
    gain = 0.24 * math.exp(rng.normal(0, 0.35)) * wrong / max(level, 1e-5)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] ** 2
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] ** 2
    balance = (gain * np.exp(rng.normal(0, 0.07, 3))).astype(np.float32)
    image = light.clip(0, 1e4) * balance * (1 - np.float32(rng.uniform(0, 0.22)) * (x + y))
    if rng.random() < 0.5:  # light scattered in the lens
        small = cv2.resize(image.clip(0, 6), (width // 8, height // 8), interpolation=cv2.INTER_AREA)
        glow = cv2.resize(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.6, 3)), (width, height))
        image = image + np.float32(rng.uniform(0.005, 0.06)) * glow
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.85) * (2 if rng.random() < 0.06 else 1))
    if rng.random() < 0.08:  # the camera moves
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, math.pi)
        reach = (length - 1) / 2
        cv2.line(
            kernel,
            (round(reach - reach * math.cos(angle)), round(reach - reach * math.sin(angle))),
            (round(reach + reach * math.cos(angle)), round(reach + reach * math.sin(angle))),
            1.0,
        )
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    read = math.exp(rng.uniform(math.log(3e-4), math.log(4e-3))) * (3 if luck < 0.06 else 1)
    shot = math.exp(rng.uniform(math.log(2e-5), math.log(8e-4)))
    image += np.sqrt(read**2 + shot * image) * rng.standard_normal(image.shape, dtype=np.float32)
    knee = np.float32(0.8)  # highlights are compressed above it instead of clipped
    np.copyto(image, 1 - (1 - knee) * np.exp((knee - image) / (1 - knee)), where=image > knee)
    image = cv2.pow(image.clip(0), 1 / rng.uniform(1.9, 2.5))
    image = (image - 0.5) * np.float32(rng.uniform(0.95, 1.25)) + 0.5
    saturation = np.float32(rng.uniform(0.7, 1.25))
    grey = image @ np.float32([0.3, 0.59, 0.11])
    image = grey[..., None] + (image - grey[..., None]) * saturation
    if rng.random() < 0.3:  # sharpened by the camera
        image = image + np.float32(rng.uniform(0.2, 0.8)) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    picture = (image * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    return picture
