-- Domains to look at again: those longest ago first.
CREATE INDEX domains_to_check ON domains (checked_at) WHERE state IN ('verified', 'lapsed');

-- Of a domain only what looks find changes; of a signing key only that it, or its earlier tokens, are revoked.
REVOKE UPDATE ON domains, signing_keys FROM quarry_${service};
GRANT UPDATE (state, verified_at, checked_at, missing_since, problem) ON domains TO quarry_${service};
GRANT UPDATE (revoke_before, revoked_at) ON signing_keys TO quarry_${service};
