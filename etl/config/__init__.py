"""Settings. The only reader of the environment.

settings               all settings, one typed object
setting_checks         what their values must look like
telemetry_settings     those of metrics, pings and notifications
environment            environment, `.env`, and `*_FILE`
env_file_writer        writes `.env`
database_certificates  whom this machine trusts, for a connection to Postgres
sslmode                how well a connection to Postgres is protected
"""
