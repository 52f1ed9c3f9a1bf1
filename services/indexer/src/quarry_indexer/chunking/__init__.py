"""Text in, chunks out: cut where the document's own structure allows, never over the embedder's window."""
