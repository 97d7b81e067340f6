"""Satellite files → frames: sources, checks, scenes, areas, and the step ``ingest``."""
