"""Entry point of `python -m realtime_mer` and of the script `realtime-mer`."""

import sys

from realtime_mer.cli import main

if __name__ == "__main__":
    sys.exit(main())
