"""The sentences of this sample: two verbs, six colours, three kinds of object, and which of them training never sees."""

COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
KINDS = ("ball", "box", "key")
VERBS = ("go to", "pick up")

# Combinations kept out of training altogether. Every verb, colour and kind in them is still seen in other company, so a
# model that gets these right has put the words together itself. All are "go to": how an object looks while it vanishes
# is a picture of its own, which a model that never saw it picked up cannot know.
HELD_OUT = (
    ("go to", "yellow", "key"),
    ("go to", "red", "box"),
    ("go to", "purple", "ball"),
    ("go to", "green", "key"),
)

GRID = 6  # cells along each side of the room, walls included
TILE = 16  # pixels along each side of a cell
FRAMES = 16
FRAMES_PER_SECOND = 8


def all_missions():
    """Every (verb, colour, kind), held-out ones included, in a fixed order."""
    return [(verb, color, kind) for verb in VERBS for color in COLORS for kind in KINDS]


def seen_missions():
    """The missions that training clips show."""
    return [mission for mission in all_missions() if mission not in HELD_OUT]


def sentence(mission):
    """The caption of a mission, as BabyAI words it: `go to the red ball`."""
    verb, color, kind = mission
    return f"{verb} the {color} {kind}"


def parse(text):
    """The (verb, colour, kind) a caption names, or None if it is no sentence of this sample."""
    words = text.lower().strip().rstrip(".").split()
    if len(words) != 5 or words[2] not in ("the", "a"):
        return None
    mission = (" ".join(words[:2]), words[3], words[4])
    return mission if mission in all_missions() else None
