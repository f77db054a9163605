"""Entry of ``python -m control.cli``, for where the ``rowtide`` script is not installed."""

from control.cli.main import main

main()
