"""Server-sent events (WHATWG HTML, section 9.2): a job's progress, and what happens in a tenant."""
