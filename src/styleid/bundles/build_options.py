"""Options of `styleid bundles build`: the files of the StyleID release from which a bundle is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuildOptions:
    """The files of the public StyleID release from which a bundle is built.

    generator: file stylegan2-ffhq-config-f.pt, in the layout of rosinality's StyleGAN2.
    inverter: file e4e_ffhq_encode.pt.
    out: folder to which the bundle is written.
    mask_encoder: file psp_celebs_seg_to_face.pt, for the method pixel.
    swapper: file mapper.pt, for the method swapper.
    identity: file CurricularFace_Backbone.pth, the recogniser. Default: the built-in recogniser.
    attributes: file mobilenet_celeba.pth, the attribute network. Default: the built-in network.
    parser: file unet_model.pth, the parser of labels. Default: the built-in network. Landmarks always come from the
        built-in network.
    rankings: files channels_rank.npy and group_256_rank.npy, for the units channels:N and groups:N.
    strangers: folder with photos of different people, one face each, on which the thresholds of the recogniser given as
        identity are measured. Default: the strictest thresholds that such a network can have.
    truncation: scale of the targets' deviation from the mean face, 1 for no truncation.
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
