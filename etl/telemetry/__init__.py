"""Reports on runs: metrics, pings, notifications. Never fails a run.

run_telemetry       what is told of a run, and when
warehouse_snapshot  what the warehouse knows that others should be told
metrics             the metrics, in Prometheus's format
textfile            writes them for node_exporter
pushgateway         sends them to a Pushgateway
ping                tells a monitor that a run began and ended
notices             what is told to people
notifier            sends notifications, in a process of its own
http_sender         small HTTP requests
"""
