-- Builds a unique key, and says whether it could. Duplicates are expected, and caught here: of an error that gets out,
-- the server writes the doubled key into its log, and with it the id of a customer.
DO $build$
BEGIN
    {query};
    PERFORM set_config('watch_time.is_unique', 'yes', TRUE);
EXCEPTION WHEN unique_violation THEN
    PERFORM set_config('watch_time.is_unique', 'no', TRUE);
END
$build$
