"""Docker hosts as workers: an attempt is a container, its state is the engine's."""
