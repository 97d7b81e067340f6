"""The project's own database: a catalogue of the store, and statements that are files with bound values."""
