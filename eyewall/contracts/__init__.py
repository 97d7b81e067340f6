"""What Airflow, containers and the library agree on: jobs, artifact paths, manifests, clusters, features, gate.

Standard library and pydantic only, so that a DAG file or a model server can import it in milliseconds.
"""
