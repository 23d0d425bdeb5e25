"""watch-time: BlendVision One's daily watch-time reports, brought into Postgres.

Read the modules in the order of the data: `slices`, `source` (`report_api`, `download`), `normalise`, `load`, `ledger`;
`pipeline` tells the story of one slice, `job` that of many, `cli` is the face.
"""

__version__ = "0.1.0"
