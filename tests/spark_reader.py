"""Print the rows of a Parquet tree as Spark reads them, all values as texts; run by the Python of `.venv-stores`."""

import json
import sys

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
columns = ["content_id", "customer_id", "streaming_type", "report_date", "report_type", "watch_seconds"]
rows = spark.read.parquet(sys.argv[1]).select(columns).collect()
json.dump([[str(value) for value in row] for row in rows], sys.stdout)
spark.stop()
