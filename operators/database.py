"""Where a task or a trigger finds the project's database: only those that speak to the job queue do.

EYEWALL_DATABASE_URL of Airflow's own process, else Airflow's connection `eyewall_database`, else the embedded server.
The URL may hold a password: it is in no argument, no XCom, no trigger's kwargs and no log.
"""

import os
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from airflow.sdk.log import mask_secret

from eyewall.contracts.errors import EyewallError

VARIABLE = "EYEWALL_DATABASE_URL"
CONNECTION = "eyewall_database"


def database_url() -> str:
    """The URL, for a task. Raises AirflowFailException where there is none."""
    if given := os.environ.get(VARIABLE):
        return _masked(given)
    try:
        return _of(Connection.get(CONNECTION))
    except AirflowNotFoundException:
        return _embedded()


async def adatabase_url() -> str:
    """The URL, for a trigger. Raises AirflowFailException where there is none."""
    if given := os.environ.get(VARIABLE):
        return _masked(given)
    try:
        return _of(await Connection.async_get(CONNECTION))
    except AirflowNotFoundException:
        return _embedded()


def _of(connection: Any) -> str:
    """A connection of the type `postgres` as libpq and SQLAlchemy take it both."""
    return _masked("postgresql://" + connection.get_uri().partition("://")[2])


def _embedded() -> str:
    from eyewall.db.connect import database_url as embedded  # psycopg: not where a DAG file is read

    try:
        return embedded(os.environ)
    except EyewallError as error:
        raise AirflowFailException(f"{error}, or define the connection {CONNECTION}") from None


def _masked(url: str) -> str:
    """``url``, whose password Airflow replaces by stars in every log from now on."""
    try:
        password = urlsplit(url).password
    except ValueError:  # libpq's other form: "host=… password=…"
        password = None
    if password:
        mask_secret(password)
    return url
