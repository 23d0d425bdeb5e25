"""watch-time: BlendVision One's daily watch-time reports, brought into Postgres.

The packages, in the order of the data: `extract`, `transform`, `load`, `warehouse`; `pipeline` tells the story of one
slice, `job` that of many, `cli` is the face. Each says in its docstring what it is for, and names its modules.
"""

__version__ = "0.1.0"
