"""What travels: Qdrant's REST bodies, as strict types. A field that is not declared here is refused."""
