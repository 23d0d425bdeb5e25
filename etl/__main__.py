"""`python -m etl` is `watch-time`."""

from etl.cli import main

main()
