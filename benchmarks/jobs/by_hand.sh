#!/bin/sh
# The best way by hand to do the same job: ask for the address with the token, download, hash, \copy FREEZE into a new
# table, the same primary key, the same totals per content item, swap.
#
#     by_hand.sh PSQL SQL URL
set -eu
address=$(curl -fsS -H "authorization: Bearer $WATCH_TIME_API_TOKEN" -H "x-bv-org-id: $WATCH_TIME_ORG_ID" \
    "$WATCH_TIME_API_BASE_URL/bv/analytics/v1/reports/watch-time?time=2026-01-05T00:00:00Z&streaming_type=REPORT_STREAMING_TYPE_VOD" |
    sed 's/.*"url": *"\([^"]*\)".*/\1/; s/\\u0026/\&/g')
curl -fsS -o report.csv "$address"
sha256sum report.csv > report.sha256
"$1" -X -q -v ON_ERROR_STOP=1 -f "$2" "$3"
