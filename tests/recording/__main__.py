"""``python -m tests.recording OPTIONS``: a simulator with the recorder before it; options as of ``graphsim``."""

import sys

from tests.recording.proxy import main

sys.exit(main(sys.argv[1:]))
