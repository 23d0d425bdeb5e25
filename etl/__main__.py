"""The process: `watch-time`, and `python -m etl`."""

from etl import memory

memory.settle()

from etl.cli import main  # noqa: E402 - only now

if __name__ == "__main__":
    main()
