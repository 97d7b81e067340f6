"""The split study's networks, named once: what `eyewall split study` and the DAG ``split_study`` train and score."""

from typing import Any, Final

#: Filters at the cut: the paper's.
CHANNELS: Final = (1, 4, 8, 12, 16, 20, 24, 28, 32)
#: Values of each of the four blocks at the cuts that a trained bottleneck squeezes: 256, 512 and 704 in all.
BOTTLENECKS: Final = (64, 128, 176)
#: Filters at the cut of networks that the unchanged one teaches, for twice the epochs, with mirrored images and a fifth
#: of the decay: what a narrow network lacks is fit, and the teacher's answers keep it from learning by heart.
TAUGHT_CHANNELS: Final = (8,)
_TAUGHT: Final = {"weight_decay": 2e-4, "augment": "flip", "epochs": 48}
#: The unchanged network: what losses are reckoned against, and the others' teacher.
TEACHER: Final = "channels_32"

#: Name of a network → the fields of its NetworkJob, without images and teacher.
NETWORKS: Final[dict[str, dict[str, Any]]] = {
    **{f"channels_{number}": {"channels": number} for number in CHANNELS},
    **{f"taught_{number}": {"channels": number, **_TAUGHT} for number in TAUGHT_CHANNELS},
    **{
        f"bottleneck_{number}": {
            "bottleneck": number,
            "wire": "int8",
            "epochs": 6,
            "learning_rate": 0.01,
            "polish_epochs": 4,
        }
        for number in BOTTLENECKS
    },
}
#: Those that learn from the teacher.
TAUGHT: Final = tuple(name for name in NETWORKS if not name.startswith("channels"))
#: Cuts whose features a decoder tries to turn back into images, of the teacher.
PRIVACY_CUTS: Final = ("pool1", "pool2", "pool3")
PARTS: Final = ("cifar10", "caffenet", "typhoon")
