"""Builds the distributions of the checkout, as their users would get them.

In: the directory of one, an empty directory. Out: its wheel. Rule: nothing is fetched for the build.
"""

import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")


def build_wheel(tree: Path, place: Path) -> Path:
    """The wheel of the distribution in ``tree``, made in ``place``."""
    words = ["build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", str(place), str(tree)]
    subprocess.run([str(UV), *words], check=True, cwd=place)
    [wheel] = place.glob("*.whl")
    return wheel
