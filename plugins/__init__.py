"""What the Airflow UI shows, and how it counts time. Airflow loads each file of this folder by itself."""
