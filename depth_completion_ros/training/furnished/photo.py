"""Simulate a camera: exposure, white balance, lens, noise, tone curve and compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

_GREY = np.array([0.3, 0.59, 0.11], np.float32)  # weights of red, green and blue in brightness
_TARGET_LEVEL = 0.24  # mean light of a well-exposed image
_WHITE_BALANCE = (0.08, 0.03, 0.08)  # standard deviation of the logarithm of red, green and blue
_KNEE = 0.8  # highlights above this value are compressed instead of clipped


def photograph(light: np.ndarray, rng: np.random.Generator, noise: np.random.Generator | None = None) -> np.ndarray:
    """Convert linear light to an image with the errors of a random camera.

    Args:
        light: (H, W, 3) float32, linear.
        rng: Draws the camera and its settings. Equal generators give the same camera.
        noise: Draws the noise; by default, ``rng`` does.

    Returns:
        (H, W, 3) uint8.
    """
    draw = rng.random()  # one image in eight is too dark or too bright
    exposure = rng.uniform(0.05, 0.35) if draw < 0.06 else rng.uniform(1.8, 3) if draw > 0.94 else 1.0
    image = _expose(light, exposure * math.exp(rng.normal(0, 0.35)), rng)
    if rng.random() < 0.5:
        image = _add_scattered_light(image, rng)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.85) * (2 if rng.random() < 0.06 else 1))
    if rng.random() < 0.08:
        image = _add_motion_blur(image, rng)
    image = _add_noise(image, 3 if draw < 0.06 else 1, rng, noise or rng)
    bright = image > _KNEE
    image[bright] = 1 - (1 - _KNEE) * np.exp((_KNEE - image[bright]) / (1 - _KNEE))
    image = np.asarray(cv2.pow(image.clip(0), 1 / rng.uniform(1.9, 2.5)), np.float32)
    image = (image - 0.5) * np.float32(rng.uniform(0.95, 1.25)) + 0.5
    grey = (image @ _GREY)[..., None]
    image = grey + (image - grey) * np.float32(rng.uniform(0.7, 1.25))
    if rng.random() < 0.3:  # sharpened by the camera
        image = image + np.float32(rng.uniform(0.2, 0.8)) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    picture = (image * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR))
    return picture


def _expose(light: np.ndarray, exposure: float, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, white balance and vignetting."""
    height, width = light.shape[:2]
    level = float(np.sqrt(light[::4, ::4].clip(0)).mean()) ** 2  # the square root reduces the weight of bright areas
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] ** 2
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] ** 2
    balance = (_TARGET_LEVEL * exposure / max(level, 1e-5) * np.exp(rng.normal(0, _WHITE_BALANCE))).astype(np.float32)
    return light.clip(0, 1e4) * balance * (1 - np.float32(rng.uniform(0, 0.22)) * (x + y))


def _add_scattered_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add light that is scattered in the lens."""
    height, width = image.shape[:2]
    small = cv2.resize(image.clip(0, 6), (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.6, 3)), (width, height))
    return image + np.float32(rng.uniform(0.005, 0.06)) * glow


def _add_motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur the image by a motion of the camera."""
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle, half = rng.uniform(0, math.pi), (length - 1) / 2
    right, down = half * math.cos(angle), half * math.sin(angle)
    cv2.line(kernel, (round(half - right), round(half - down)), (round(half + right), round(half + down)), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _add_noise(image: np.ndarray, factor: float, rng: np.random.Generator, noise: np.random.Generator) -> np.ndarray:
    """Add read noise, multiplied by a factor, and shot noise."""
    read = math.exp(rng.uniform(math.log(3e-4), math.log(4e-3))) * factor
    shot = math.exp(rng.uniform(math.log(2e-5), math.log(8e-4)))
    deviation = np.sqrt(np.float32(read) ** 2 + np.float32(shot) * image.clip(0))
    return image + deviation * noise.standard_normal(image.shape, dtype=np.float32)
