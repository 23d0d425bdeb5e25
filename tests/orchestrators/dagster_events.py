"""Run by Dagster's Python: prints as JSON what happened in the one run of the instance at DAGSTER_HOME."""

from __future__ import annotations

import json

from dagster import DagsterInstance

with DagsterInstance.get() as instance:
    (run,) = instance.get_runs()
    events = instance.all_logs(run.run_id)
    found = [event.asset_materialization for event in events if event.asset_materialization]
    kinds = [event.dagster_event.event_type_value for event in events if event.dagster_event]
    told = {
        "status": run.status.value,
        "tries": [kind for kind in kinds if kind in {"STEP_UP_FOR_RETRY", "STEP_SUCCESS", "STEP_FAILURE"}],
        "metadata": {name: value.value for one in found for name, value in one.metadata.items()},
    }
    print(json.dumps(told))  # noqa: T201 - for the test that reads it
