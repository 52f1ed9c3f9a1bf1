"""Every SQL statement of the webhooks service.

Those that take a tenant's connection see that tenant alone. The others cross tenants and run as the worker
role, to which the migrations give no more than they need.

Rows are locked in one order: an endpoint, its queue, its deliveries.
"""
