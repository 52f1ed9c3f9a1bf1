-- What queries are ranked by is read from a few rows of spans, in columns, and not from a row for each query.

ALTER TABLE spans ADD COLUMN ranks bytea NOT NULL DEFAULT '';   -- of days: columns beside `queries`
ALTER TABLE spans
    ALTER COLUMN ranks SET STORAGE EXTERNAL,      -- to read them costs more than their compression saves
    ALTER COLUMN queries SET STORAGE EXTERNAL,    -- hashes: there is nothing to compress
    ALTER COLUMN users SET STORAGE EXTERNAL;

-- Those of the days that there are have yet to be computed. Row security would hide these from the owner.
ALTER TABLE spans NO FORCE ROW LEVEL SECURITY;
ALTER TABLE dirty_days NO FORCE ROW LEVEL SECURITY;
INSERT INTO dirty_days (tenant_id, day)
SELECT DISTINCT tenant_id, (start AT TIME ZONE 'UTC')::date FROM spans WHERE level = 'day'
ON CONFLICT (tenant_id, day) DO UPDATE SET marks = dirty_days.marks + 1;
ALTER TABLE spans FORCE ROW LEVEL SECURITY;
ALTER TABLE dirty_days FORCE ROW LEVEL SECURITY;

ALTER TABLE query_days DROP CONSTRAINT query_days_pkey;
ALTER TABLE query_days ADD PRIMARY KEY (tenant_id, query_hash, day, mode, collection);
CREATE INDEX query_days_of_day ON query_days (day, tenant_id);
DROP INDEX query_days_of_query;
DROP INDEX query_days_day;
