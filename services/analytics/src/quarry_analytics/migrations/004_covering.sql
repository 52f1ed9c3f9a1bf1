-- A tenant's searches lie apart among everyone's of the day. What queries are ranked by, and what is searched more
-- than usual, is read from this index alone, where they lie together.

DROP INDEX searches_of_tenant;
CREATE INDEX searches_of_tenant ON searches (tenant_id, occurred_at, query_id)
    INCLUDE (query_hash, mode, collection, total, low_confidence, collapsed, continued);
