"""watch-time: loads BlendVision One's daily watch-time reports into Postgres.

The packages, in data-flow order: `extract`, `transform`, `load`, `warehouse`; `pipeline` processes one
slice, `job` many, `cli` is the command line. Each package's docstring says what it is for, and lists its modules.
"""

__version__ = "0.1.0"
