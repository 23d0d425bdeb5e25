"""Downloads a date's report to a verified file on disk. Does not use the database.

report_source         asks for a report, and downloads it
report_api            BlendVision's report API: one answer, classified
http_clients          httpx clients, their timeouts and logs
transport_errors      httpx's errors, translated
url_policy            which URLs may be fetched
retry                 retries, backoff, rates
download              downloads a file, resumes, verifies
storage_headers       headers of requests to storage hosts and of their responses
signed_url_identity   a report's URL without its signature: which file it names
download_writer       writes a download to disk
gunzip                decompresses while downloading
http_checksums        checksums in HTTP headers
scratch_folder        a run's folder for downloads
token_expiry_warning  warns before an API token expires
"""
