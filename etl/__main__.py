"""The process: `watch-time`, and `python -m etl`."""

from etl.runtime import process_tuning as memory

memory.settle()

from etl.cli.main import main  # noqa: E402 - only now

if __name__ == "__main__":
    main()
