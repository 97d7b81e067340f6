"""Split inference: where a model can be cut, its head and tail, the wire between them, the edge and the study."""
