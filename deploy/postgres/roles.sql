-- Three roles for a warehouse, with the least privileges that each program needs:
--
--     owner   creates and changes the tables: `watch-time migrate`
--     loader  loads the reports: `run`, `backfill`, `compact`, `verify`, `doctor`
--     reader  reads: `status`, `explain`, `revisions`, `report`, and people's own queries
--
-- Run as a superuser, or as the administrator of a managed service who owns the database (CREATEROLE is enough), in the
-- warehouse's own database, before the first migration or on an existing warehouse:
--
--     psql -d warehouse -f roles.sql            # once; then give the roles passwords: \password watch_time_loader
--     watch-time migrate                        # as the owner
--     psql -d warehouse -U watch_time_owner -f rights.sql    # after every migration
--
-- Both files may be run repeatedly. Other names: -v schema=... -v owner=... -v loader=... -v reader=...
\set ON_ERROR_STOP on
\if :{?schema}
\else
    \set schema public
\endif
\if :{?owner}
\else
    \set owner watch_time_owner
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
SET LOCAL client_min_messages = warning;

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name)
FROM unnest(ARRAY[:'owner', :'loader', :'reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- Partitions belong to the role that attached them, the loader. The owner changes them in migrations.
GRANT :"loader" TO :"owner";

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO :"owner", :"loader", :"reader";
GRANT TEMPORARY ON DATABASE :"DBNAME" TO :"loader";

-- Unless it is a superuser, a role that changes an owner must be a member of the new owner, which must be allowed to
-- create the object. Both are revoked below.
SELECT NOT rolsuper AS is_managed FROM pg_roles WHERE rolname = current_user \gset
\if :is_managed
    GRANT :"owner" TO CURRENT_USER;
    GRANT CREATE ON DATABASE :"DBNAME" TO :"owner";
\endif

CREATE SCHEMA IF NOT EXISTS :"schema";
ALTER SCHEMA :"schema" OWNER TO :"owner";
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"loader";
GRANT USAGE ON SCHEMA :"schema" TO :"reader";

-- Tables that another role created before these three existed. rights.sql sets the owner of watch_time and its partitions.
SELECT format('ALTER TABLE %s OWNER TO %I', pg_class.oid::regclass, :'owner')
FROM pg_class
WHERE relnamespace = :'schema'::regnamespace
  AND (
      relname IN (
          'watch_time', 'content', 'content_daily', 'customer_count', 'warehouse', 'watch_time_version',
          'watch_time_report', 'watch_time_daily', 'watch_time_customers', 'watch_time_monthly', 'watch_time_by_content',
          'watch_time_by_customer', 'report_slice', 'report_revision', 'report_check', 'report_reject', 'report_notice',
          'report_coverage'
      )
      OR oid IN (
          SELECT inhrelid
          FROM pg_inherits
          WHERE inhparent = to_regclass(format('%I.watch_time', :'schema'))
      )
  )
  AND relkind IN ('r', 'p', 'v')
  AND relowner NOT IN (:'owner'::regrole, :'loader'::regrole)
\gexec

\if :is_managed
    REVOKE CREATE ON DATABASE :"DBNAME" FROM :"owner";
    REVOKE :"owner" FROM CURRENT_USER;
\endif
COMMIT;
