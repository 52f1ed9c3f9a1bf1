"""Every SQL statement of the tenants service.

Those that take a `tenant_id` run in that tenant's transaction. The others cross tenants and run as the worker
role, to which the migrations give no more than they need.
"""
