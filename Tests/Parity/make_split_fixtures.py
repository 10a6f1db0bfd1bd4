"""Prints where texts fall between 0 and 1 in the validation split, computed independently, for DatasetsTests."""
M = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & M
    return value


def place(text, seed, purpose=5):
    state = mix((seed + STEP) & M)
    state = mix(state ^ (purpose * STEP & M))
    state = mix(((state + STEP) & M) ^ mix((fnv(text) + 1) & M))
    return mix((state + STEP) & M) >> 11


for arguments in [("", 0), ("clip_00.mp4|0|a square", 0), ("clip_00.mp4|0|a square", 1 << 63), ("é", 42)]:
    print(arguments, place(*arguments))
