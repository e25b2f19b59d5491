"""`python -m sspipe`."""

import sys

from sspipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
