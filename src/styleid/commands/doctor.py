"""styleid doctor: what is installed, what is missing, and does it work here."""

from __future__ import annotations

import sys

from styleid.api.installation import check_installation, describe_installation
from styleid.bundles.registry import DEFAULT
from styleid.commands.messages import counted, with_flags
from styleid.runtime import Device


def doctor(bundle: str = DEFAULT, device: Device = "cpu") -> int:
    """Print what is installed and try it; return 1 where something does not work, else 0.

    Args:
        bundle: Name or folder of the bundle to try, besides the built-in ones.
        device: Where networks run.
    """
    print("\n".join(describe_installation()))
    failed = 0
    for check in check_installation(bundle, device):
        if check.passed:
            print(f"{check.name}: {check.text} ({check.seconds:.1f} s)")
        else:
            failed += 1
            print(f"{check.name}: FAILED. {with_flags(check.text)}", file=sys.stderr)
    print(f"{counted(failed, 'check')} failed" if failed else "all checks passed")
    return 1 if failed else 0
