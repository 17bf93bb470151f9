"""The networks: a small 3D U-Net, and a classifier of small patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def _block(channels_in: int, channels: int, *, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (channels_in, channels):
        layers += [
            nn.Conv3d(n, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels) if batch_norm else nn.InstanceNorm3d(channels, affine=True),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """3D U-Net (Ronneberger et al. 2015; Cicek et al. 2016).

    Trained in bfloat16 with the channels last, which takes 0.6 of the time; used in float32.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the input, and of the output, which is not normalised (logits).
    widths : sequence of int
        Channels of each level, each half as fine as the one before; every side of the input must be a
        multiple of 2 to the power of their number less one.
    batch_norm : bool
        Normalise by what is usual in training, for networks that are trained on patches and used on whole
        brains, whose mean is another; else by the mean and spread of the image itself.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        widths: Sequence[int] = (8, 16, 32, 64),
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        n = channels_in
        for width in widths:
            self.down.append(_block(n, width, batch_norm=batch_norm))
            n = width
        for width in list(widths)[-2::-1]:
            self.up.append(_block(n + width, width, batch_norm=batch_norm))
            n = width
        self.last = nn.Conv3d(n, channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image (batch, channels, x, y, z) to logits on the same grid."""
        if self.training:
            image = image.to(memory_format=torch.channels_last_3d)
        finer: list[torch.Tensor] = []
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            for level, block in enumerate(self.down):
                if level:
                    image = nn.functional.max_pool3d(image, 2)
                image = block(image)
                finer.append(image)
            for block, beside in zip(self.up, finer[-2::-1], strict=True):
                image = nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
                image = block(torch.cat([image, beside], dim=1))
            return self.last(image).float()


class PatchClassifier(nn.Module):
    """Classify small patches: convolutions, each level half as fine, and the mean and maximum of the last.

    Trained in bfloat16 with the channels last, which takes half of the time; used in float32.

    Parameters
    ----------
    channels_in : int
        Channels of a patch.
    widths : sequence of int
        Channels of each level.
    features : int
        Numbers that describe the patch beside its image (0: none); they must be scaled to about 1.
    first_stride : int
        2: already the first level is half as fine, which takes a third of the time.
    batch_norm : bool
        False: without, to go on from an exported network, in which it is part of the convolutions.
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int] = (16, 32, 48),
        features: int = 0,
        first_stride: int = 1,
        *,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n = channels_in
        for level, width in enumerate(widths):
            for inputs, stride in ((n, 2 if level else first_stride), (width, 1)):
                layers += [
                    nn.Conv3d(inputs, width, 3, stride=stride, padding=1, bias=not batch_norm),
                    nn.BatchNorm3d(width) if batch_norm else nn.Identity(),
                    nn.LeakyReLU(0.1),
                ]
            n = width
        self.layers = nn.Sequential(*layers)
        self.last = nn.Sequential(
            nn.Linear(2 * n + features, 32), nn.LeakyReLU(0.1), nn.Dropout(0.2), nn.Linear(32, 1)
        )

    def forward(self, patch: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Map patches (batch, channels, x, y, z) to logits (batch,)."""
        if self.training:
            patch = patch.to(memory_format=torch.channels_last_3d)
        with torch.autocast(patch.device.type, torch.bfloat16, enabled=self.training):
            maps = self.layers(patch)
        maps = maps.float().flatten(2)
        pooled = torch.cat([maps.mean(dim=2), maps.amax(dim=2)], dim=1)
        if features is not None:
            pooled = torch.cat([pooled, features], dim=1)
        return self.last(pooled)[:, 0]
