"""`python -m cvms.cli`, the same as `cvms`."""

import sys

from cvms.cli import main

sys.exit(main())
