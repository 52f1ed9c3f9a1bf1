"""Messages: requests over core NATS, commands and events over JetStream, the outbox that feeds them."""
