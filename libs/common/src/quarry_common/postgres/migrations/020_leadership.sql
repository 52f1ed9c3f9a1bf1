-- Which process does what only one of a service should do at a time. It is a lease and no lock of a session: a
-- process that stands still keeps its sessions, and with them its locks.
CREATE TABLE leaders (
    task text PRIMARY KEY,
    holder uuid NOT NULL,
    leased_until timestamptz NOT NULL
);

REVOKE ALL ON leaders FROM quarry_${service};
GRANT SELECT, INSERT, UPDATE, DELETE ON leaders TO quarry_${service}_worker;
