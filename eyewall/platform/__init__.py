"""The processes of a local installation: PostgreSQL, Airflow's four and the model server, without Docker or root.

Airflow is started as a subprocess and spoken to over REST; it is never imported.
"""
