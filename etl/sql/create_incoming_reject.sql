-- Where the rejected lines of a report wait until it is accepted.
CREATE TEMPORARY TABLE incoming_reject (LIKE report_reject) ON COMMIT DROP
