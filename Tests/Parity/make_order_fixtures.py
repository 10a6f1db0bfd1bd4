"""Prints the orders in which training visits its items, computed independently, for TrainingTests."""
M = (1 << 64) - 1
W = (1 << 32) - 1


def mixed(value):
    z = (value + 0x9E3779B97F4A7C15) & M
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def derived(stream, purpose, *counters):
    value = 0xCBF29CE484222325
    for byte in purpose.encode():
        value = ((value ^ byte) * 0x100000001B3) & M
    value = mixed(value ^ mixed(stream))
    for counter in counters:
        value = mixed((value + mixed(counter & M)) & M)
    return value


def philox(seed, stream, block):
    """Philox4x32-10: the counter is the block and the stream, the key is the seed."""
    c = [block & W, block >> 32, stream & W, stream >> 32]
    k = [seed & W, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & W, (a >> 32) ^ c[3] ^ k[1], a & W]
        k = [(k[0] + 0x9E3779B9) & W, (k[1] + 0xBB67AE85) & W]
    return c


def permutation(seed, stream, count):
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        words = philox(seed, stream, last // 2)[last % 2 * 2:][:2]
        other = (words[0] << 32 | words[1]) * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    return order


assert philox(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
for seed, epoch in [(0, 0), (42, 7), (1 << 63, 3)]:
    stream = derived(derived(0, "training"), "order", epoch)
    print(seed, epoch, permutation(seed, stream, 12))
