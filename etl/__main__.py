"""The process: `watch-time`, and `python -m etl`."""

from etl.runtime import process_tuning as memory

memory.settle()


def main() -> None:
    """Run the command. The workers of `--dask local` import this module too, and none of what only it needs."""
    from etl.cli.main import main as command  # noqa: PLC0415

    command()


if __name__ == "__main__":
    main()
