"""An Airflow for tests: a home of its own, our plugins, no database; to be imported before anything of Airflow's."""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if "airflow" not in sys.modules:
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="eyewall-test-airflow-"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    }
# As Airflow has it in its own processes: the project by PYTHONPATH, the plugins by itself.
for folder in (ROOT, ROOT / "plugins"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
