"""What only the server of a database can do to those who use it."""

import threading
from contextlib import contextmanager

from django.db import connection, connections

from django_socialgrants.models import ApplicationHealth, UserToken


def tenants_name():
    """Of a schema, database or role beside the database of this test run."""
    return f"{connection.settings_dict['NAME']}_tenant"


def elsewhere(job):
    """Do `job` in another thread with a connection of its own, and wait for it; what it returns."""
    results, failed = [], []

    def run():
        try:
            results.append(job())
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed == []
    return results[0]


def sql(*statements):
    """What the last statement returns: its first column."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []


def number_of(wrapper):
    """By which the server knows a connection."""
    with wrapper.cursor() as cursor:
        cursor.execute(
            {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}[wrapper.vendor]
        )
        return cursor.fetchone()[0]


def kill(number):
    """End a connection, by another one."""
    statement = {"postgresql": f"SELECT pg_terminate_backend({number}, 5000)", "mysql": f"KILL {number}"}
    elsewhere(lambda: sql(statement[connection.vendor]))


@contextmanager
def tenant():
    """A second set of our tables, and how this thread's connection begins and ceases to use it."""
    main, other = connection.settings_dict["NAME"], tenants_name()
    tables = [model._meta.db_table for model in (UserToken, ApplicationHealth)]
    copies = {
        "postgresql": [
            f"CREATE SCHEMA {other}",
            *(f"CREATE TABLE {other}.{table} (LIKE public.{table} INCLUDING ALL)" for table in tables),
        ],
        "mysql": [
            f"CREATE DATABASE {other}",
            *(f"CREATE TABLE {other}.{table} LIKE {main}.{table}" for table in tables),
            *(
                f"CREATE VIEW {other}.{table} AS SELECT * FROM {main}.{table}"
                for table in ("auth_user", "socialgrants_providercredentials")
            ),
        ],
    }
    remove = {
        "postgresql": f"DROP SCHEMA IF EXISTS {other} CASCADE",
        "mysql": f"DROP DATABASE IF EXISTS {other}",
    }
    sql(remove[connection.vendor], *copies[connection.vendor])
    enter = {"postgresql": f"SET search_path TO {other}, public", "mysql": f"USE {other}"}
    leave = {"postgresql": "SET search_path TO public", "mysql": f"USE {main}"}
    try:
        yield lambda: sql(enter[connection.vendor]), lambda: sql(leave[connection.vendor])
    finally:
        sql(leave[connection.vendor], remove[connection.vendor])
