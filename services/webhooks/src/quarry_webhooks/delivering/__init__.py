"""Deliveries to endpoints: which is next, what is sent, what follows."""
