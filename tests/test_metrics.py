"""Metrics against their formulas."""

import math

import numpy as np
import pytest

from nerv360.evaluation.metrics import luma, ms_ssim_of, ws_psnr
from nerv360.quality import psnr


def test_psnr() -> None:
    a = np.full((4, 6, 3), 100, dtype=np.uint8)
    assert psnr(a + np.uint8(5), a) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr(a, a) == 100


def test_luma_is_bt709() -> None:
    assert luma(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)).tolist() == [[54, 182, 18]]


def test_ws_psnr_weighs_rows_by_their_area() -> None:
    source = np.zeros((4, 8, 3), dtype=np.uint8)
    pole, equator = source.copy(), source.copy()
    pole[0], equator[1] = 10, 10
    weights = [math.cos((row + 0.5 - 2) * math.pi / 4) for row in range(4)]
    assert ws_psnr(pole, source) == pytest.approx(10 * math.log10(255**2 / (100 * weights[0] / sum(weights))))
    assert ws_psnr(pole, source) > ws_psnr(equator, source)


def test_ms_ssim() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert ms_ssim_of(picture, picture) == pytest.approx(1)
    assert ms_ssim_of(255 - picture, picture) < 0.5
    assert math.isnan(ms_ssim_of(picture[:20], picture[:20]))
