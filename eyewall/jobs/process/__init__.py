"""This machine as a worker: an attempt is a process group behind a shim that outlives its dispatcher."""
