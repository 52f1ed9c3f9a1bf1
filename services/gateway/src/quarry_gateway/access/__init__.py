"""Who may ask: keys, tokens, addresses, origins, and what is other tenants'."""
