-- The first accepted answer decides whose data the schema holds; waits for a claim that is not committed yet.
INSERT INTO warehouse (org_id)
SELECT %(org_id)s
WHERE NOT EXISTS (SELECT FROM warehouse)
ON CONFLICT DO NOTHING
