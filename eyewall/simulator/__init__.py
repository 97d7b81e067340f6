"""A small typhoon season made from a seed: best tracks, cloud scenes, and real-format satellite files of them."""
