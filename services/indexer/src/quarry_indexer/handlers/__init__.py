"""What answers the indexer's messages: thin, calls domain and repository."""
