"""Settings. The only reader of the environment.

settings            all settings, one typed object
setting_checks      what their values must look like
telemetry_settings  those of metrics, pings and notifications
environment         environment, `.env`, and `*_FILE`
env_file_writer     writes `.env`
system_ca_file      the certificate authorities that this machine trusts, for a connection to Postgres
sslmode_check       whether a database URL protects its connection well enough
"""
