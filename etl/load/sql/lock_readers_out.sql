-- Before anything is swapped. A reader that is in the way makes us give up, not wait: others would queue behind us.
SET LOCAL lock_timeout = '50ms';
LOCK TABLE ONLY watch_time IN ACCESS EXCLUSIVE MODE
