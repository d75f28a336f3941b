"""The device of a training.

torch is imported only where it is used, so that the command line can show the help without it.
"""

from __future__ import annotations

import re

from styleid.errors import OptionError

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def resolve_device(device: str) -> str:
    """Return the name of a torch device.

    Args:
        device: auto, cpu, cuda or cuda:N; auto is cuda if there is a CUDA device, else cpu.

    Raises:
        OptionError: The name is another, or there is no CUDA device.
    """
    if not _DEVICE.fullmatch(device):
        raise OptionError("device", f"it must be auto, cpu, cuda or cuda:N, not '{device}'.")
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda" if device == "auto" else device
    if device != "auto":
        raise OptionError("device", f"torch finds no CUDA device for '{device}'. Use cpu, or install torch with CUDA.")
    return "cpu"
