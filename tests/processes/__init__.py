"""`manage.py refresh_tokens` and Celery workers as they are in production: many processes, one database, and
whatever happens to either.

The settings of those processes are in `settings`, the network that they meet in `ledger`; `conftest` starts them.
"""
