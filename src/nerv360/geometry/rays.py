"""The rays of a viewport, through the centres of its pixels or of blocks of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nerv360.geometry.viewport import Viewport

__all__ = ["perspective_rays", "rotation", "viewport_rays"]


def viewport_rays(
    view: Viewport,
    cell: int = 1,
    dtype: torch.dtype = torch.float32,
    whole: int = 1,
    device: torch.device | None = None,
) -> Tensor:
    """Unit vectors [1, rows, columns, 3] through the centres of cell x cell blocks of the viewport's pixels.

    Blocks are laid from the top left corner; where `cell` does not divide the picture, the last row or column of
    blocks reaches beyond it (decode those pixels too, and crop). With `whole`, a multiple of the cell, they reach to a
    whole number of `whole` pixels.
    """
    angles = (view.yaw_deg, view.pitch_deg, view.roll_deg)
    yaw, pitch, roll, fx, fy = (
        torch.tensor([number], dtype=torch.float64, device=device) for number in (*angles, *view.focal)
    )
    return perspective_rays(yaw, pitch, roll, fx, fy, view.width, view.height, cell, whole).to(dtype)


def perspective_rays(
    yaw_deg: Tensor,  # [B]
    pitch_deg: Tensor,  # [B]
    roll_deg: Tensor,  # [B]
    fx: Tensor,  # [B] focal lengths in pixels
    fy: Tensor,  # [B]
    width: int,
    height: int,
    cell: int = 1,
    whole: int = 1,
) -> Tensor:  # [B, ceil(height / cell), ceil(width / cell), 3]
    """Unit rays of a batch of viewports of one size; differentiable in every angle and focal length."""
    whole = max(cell, whole)
    columns = torch.arange(-(-width // whole) * whole // cell, dtype=fx.dtype, device=fx.device)
    rows = torch.arange(-(-height // whole) * whole // cell, dtype=fx.dtype, device=fx.device)
    x = ((columns + 0.5) * cell - width / 2) / fx[:, None]
    y = -((rows + 0.5) * cell - height / 2) / fy[:, None]
    x, y = x[:, None, :] + 0 * y[:, :, None], y[:, :, None] + 0 * x[:, None, :]
    ray = torch.nn.functional.normalize(torch.stack((x, y, torch.ones_like(x)), dim=-1), dim=-1)
    return ray @ rotation(yaw_deg, pitch_deg, roll_deg)[:, None].transpose(-1, -2)


def rotation(yaw_deg: Tensor, pitch_deg: Tensor, roll_deg: Tensor) -> Tensor:
    """Camera-to-world rotation [B, 3, 3]: roll first, then pitch, then yaw."""
    (sy, cy), (sp, cp), (sr, cr) = (
        (torch.deg2rad(angle).sin(), torch.deg2rad(angle).cos()) for angle in (yaw_deg, pitch_deg, roll_deg)
    )
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)

    def matrix(*rows: Sequence[Tensor]) -> Tensor:
        return torch.stack([torch.stack(tuple(row), dim=-1) for row in rows], dim=-2)

    roll = matrix((cr, sr, zero), (-sr, cr, zero), (zero, zero, one))
    pitch = matrix((one, zero, zero), (zero, cp, sp), (zero, -sp, cp))
    yaw = matrix((cy, zero, sy), (zero, one, zero), (-sy, zero, cy))
    return yaw @ pitch @ roll
