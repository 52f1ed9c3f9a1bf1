"""Collections, documents and jobs: from an accepted file to searchable passages."""

SERVICE = "indexer"
