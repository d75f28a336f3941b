"""What a bundle is built from: the upstream release's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuildOptions:
    """Name the files of the public StyleID release to build a bundle from.

    generator: stylegan2-ffhq-config-f.pt, rosinality's layout.
    inverter: e4e_ffhq_encode.pt.
    out: folder to write.
    mask_encoder: psp_celebs_seg_to_face.pt, for `method=pixel`.
    swapper: mapper.pt, for `method=swapper`.
    identity: CurricularFace_Backbone.pth; without it the built-in recogniser judges.
    attributes: mobilenet_celeba.pth; without it the built-in network describes.
    parser: unet_model.pth; without it the built-in network labels. Landmarks are always the built-in's.
    rankings: channels_rank.npy and group_256_rank.npy, for `units=channels:N` and `units=groups:N`.
    strangers: folder of photos of different people, one face each, to measure the thresholds of `identity` on;
        without it the strictest bounds that such a network can have are taken.
    truncation: draw targets towards the mean face, 1 for not at all.
    """

    generator: Path
    inverter: Path
    out: Path
    mask_encoder: Path | None = None
    swapper: Path | None = None
    identity: Path | None = None
    attributes: Path | None = None
    parser: Path | None = None
    rankings: tuple[Path, ...] = ()
    strangers: Path | None = None
    truncation: float = 1.0
