"""`python -m realtime_mer` and the `realtime-mer` script."""

import sys

from realtime_mer.cli import main

if __name__ == "__main__":
    sys.exit(main())
