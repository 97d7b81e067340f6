"""The sensor side of a split model: frames in, features over a link that comes and goes, one answer a frame."""
