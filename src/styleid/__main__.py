"""Let `python -m styleid` be the command."""

import sys

from styleid.cli import main

sys.exit(main())
