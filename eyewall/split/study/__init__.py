"""The study of the cut: networks × channels × wires × links, measured over a real link, and the report of it."""
