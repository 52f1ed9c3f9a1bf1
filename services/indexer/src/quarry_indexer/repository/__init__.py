"""Every SQL statement of the indexer. Functions take a connection inside a transaction of `Database`."""
