"""Prints the first orders of the data loader's shuffle, computed independently, for DatasetsTests."""
M = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def order(count, seed, epoch, purpose=1):
    state = mix((seed + STEP) & M)
    state = mix(state ^ (purpose * STEP & M))
    state = mix(((state + STEP) & M) ^ mix((epoch + 1) & M))
    result = list(range(count))
    for index in range(count - 1, 0, -1):
        state = (state + STEP) & M
        other = mix(state) * (index + 1) >> 64
        result[index], result[other] = result[other], result[index]
    return result


for arguments in [(10, 0, 0), (12, 42, 7), (12, 1 << 63, 3)]:
    print(arguments, order(*arguments))
