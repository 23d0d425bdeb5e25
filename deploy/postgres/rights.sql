-- Privileges on the tables of a warehouse; see roles.sql in this folder. Run as the owner, after every migration.
--
-- The loader owns watch_time, because only its owner may attach partitions to it. It owns nothing else, so that it can
-- neither drop the ledger nor delete a row of report_revision, which records what was loaded when.
\set ON_ERROR_STOP on
\if :{?schema}
\else
    \set schema public
\endif
\if :{?loader}
\else
    \set loader watch_time_loader
\endif
\if :{?reader}
\else
    \set reader watch_time_reader
\endif

BEGIN;
SELECT set_config('search_path', format('%I', :'schema'), true) \g /dev/null

SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'loader')
FROM pg_class
WHERE oid IN (
    SELECT 'watch_time'::regclass
    UNION ALL
    SELECT inhrelid
    FROM pg_inherits
    WHERE inhparent = 'watch_time'::regclass
)
  AND relowner <> :'loader'::regrole
\gexec

-- Exactly the privileges granted below, whatever was granted before.
REVOKE ALL ON content, content_daily, customer_count, warehouse, watch_time_version, report_slice, report_revision,
    report_check, report_reject, report_notice, watch_time_report, watch_time_daily, watch_time_customers,
    watch_time_monthly, watch_time_by_content, watch_time_by_customer, report_coverage
FROM PUBLIC, :"loader", :"reader";
REVOKE ALL ON watch_time FROM PUBLIC, :"reader";

GRANT SELECT ON watch_time_version, watch_time_customers TO :"loader";
GRANT SELECT, INSERT ON warehouse, report_revision TO :"loader";
GRANT SELECT, INSERT, UPDATE ON content, customer_count, report_slice, report_check TO :"loader";
GRANT SELECT, INSERT, DELETE ON report_reject TO :"loader";
GRANT SELECT, INSERT, UPDATE, DELETE ON content_daily, report_notice TO :"loader";

-- For a partitioned table, its own privileges count, not those on its partitions.
GRANT SELECT ON watch_time, content, content_daily, customer_count, warehouse, watch_time_version, report_slice,
    report_revision, report_check, report_reject, report_notice, watch_time_report, watch_time_daily,
    watch_time_customers, watch_time_monthly, watch_time_by_content, watch_time_by_customer, report_coverage
TO :"reader";

COMMIT;
