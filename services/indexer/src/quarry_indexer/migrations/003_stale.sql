-- The worker role sees documents whose points are stale, of every tenant, and no others.
ALTER POLICY stale ON documents USING (stale);
