"""Lets `python -m policysearch` stand for the command, where no script is on the path."""

import sys

from policysearch.cli import main

sys.exit(main())
