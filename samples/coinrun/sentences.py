"""What happens in a clip, and the sentence that says so.

Both are made from a *track*: where the agent is in every frame, and what stands around it. The track comes from the
game's own state (make_dataset.py) or from pixels (score.py); everything below is the same for both. Places are in
tiles, x to the right and y upwards from the picture's lower left corner.

A sentence is a list of clauses in order of time: `the agent stands still, jumps to the right over a saw and lands`.
"""

from dataclasses import dataclass, field

FRAMES = 16
FRAMES_PER_SECOND = 8
STEPS_PER_FRAME = 2  # the game runs at 15 steps a second: clips show it in its own time
MOST_CLAUSES = 4

RUN = {1: "runs to the right", -1: "runs to the left"}
STAND = "stands still"
JUMP = {1: "jumps to the right", -1: "jumps to the left", 0: "jumps straight up"}
OVER = {"crate": "over a crate", "saw": "over a saw", "enemy": "over an enemy", "lava": "over lava"}
FALL = "falls down"
LAND, LAND_ON_CRATE, LAND_HIGHER, LAND_LOWER = "lands", "lands on a crate", "lands higher up", "lands lower down"
DEATH = {"saw": "is killed by a saw", "enemy": "is killed by an enemy", "lava": "dies in the lava"}
COLLECT = "collects the coin"
ENDS = (*DEATH.values(), COLLECT)
EVENTS = (
    *RUN.values(), STAND, *JUMP.values(), *OVER.values(), FALL, LAND, LAND_ON_CRATE, LAND_HIGHER, LAND_LOWER, *ENDS,
)  # fmt: skip

# Neighbouring clauses that never meet in a training sentence, though each of them occurs there in other company.
HELD_OUT = (
    (RUN[-1], JUMP[0]),
    (STAND, RUN[-1]),
    (RUN[1], FALL),
    (LAND_HIGHER, STAND),
)


@dataclass
class Track:
    """One clip in numbers; things are given by their middles `(x, y)`."""

    agent: list  # per frame (x of the middle, y of the feet), or None where there is no agent
    coin: list  # per frame whether there is a coin
    crates: list
    saws: list
    lava: list
    enemies: list = field(default_factory=list)  # per frame a list


def clauses(track, strictness=1.0):
    """What happens, in order of time; `strictness` scales the least distances that count as something happening."""
    agent, count = list(track.agent), len(track.agent)
    if None in agent:
        count = agent.index(None)
    collected = track.coin[0] and not track.coin[-1]
    if collected:
        count = min(count, track.coin.index(False) + 1)  # the game is over then
    found, at = [], 0
    for start, end in flights(agent[:count], strictness):
        found += ground(agent[at : start + 1], strictness)
        found += flight(track, start, end, end < count - 1, strictness)
        at = end
    found += ground(agent[at:count], strictness)
    if collected:
        found.append(COLLECT)
    elif count < len(agent):
        killer = danger(track, count - 1)
        if killer is not None:
            found.append(DEATH[killer])
    return found


def flights(agent, strictness):
    """First and last frames of the times in the air: any change of height, since nobody climbs by walking here."""
    moves = [second[1] - first[1] for first, second in zip(agent, agent[1:])]
    moving = [abs(move) > 0.25 for move in moves]
    for time in range(1, len(moves) - 1):
        if moves[time - 1] > 0.25 and moves[time + 1] < -0.25:
            moving[time] = True  # the top of a jump
    spans, time = [], 0
    while time < len(moving):
        if not moving[time]:
            time += 1
            continue
        start = time
        while time < len(moving) and moving[time]:
            if moves[time] > 0.25 and time > start and moves[time - 1] < -0.25:
                break  # landed and off again
            time += 1
        heights = [place[1] for place in agent[start : time + 1]]
        if max(heights) - min(heights) > 0.7 * strictness:
            spans.append((start, time))
    return spans


def flight(track, start, end, landed, strictness):
    """The clauses of one time in the air."""
    (x1, y1), (x2, y2) = track.agent[start], track.agent[end]
    highest = max(place[1] for place in track.agent[start : end + 1])
    if highest - y1 > 0.7 * strictness:
        way = 0 if abs(x2 - x1) < 0.8 * strictness else 1 if x2 > x1 else -1
        found = [" ".join([JUMP[way], *(OVER[name] for name in passed_over(track, start, end)[:1])])]
    else:
        found = [FALL]
    if landed:
        if any(abs(x - x2) < 0.97 and abs(y + 0.5 - y2) < 0.3 for x, y in track.crates):
            found.append(LAND_ON_CRATE)
        elif found[0] == FALL or abs(y2 - y1) < 0.6 * strictness:
            found.append(LAND)
        else:
            found.append(LAND_HIGHER if y2 > y1 else LAND_LOWER)
    return found


def passed_over(track, start, end):
    """The kinds of things that the agent flies over, from one side to the other, the dangerous ones first."""
    low, high = sorted((track.agent[start][0], track.agent[end][0]))
    found = []
    for time in range(start, end):
        (x1, y1), (x2, y2) = track.agent[time], track.agent[time + 1]
        enemies = track.enemies[time] if track.enemies else []
        for name, things in (("saw", track.saws), ("enemy", enemies), ("lava", track.lava), ("crate", track.crates)):
            for x, y in things:
                if min(x1, x2) <= x < max(x1, x2) and low + 0.5 < x < high - 0.5:
                    top = max(other for place, other in things if abs(place - x) < 0.3) + 0.5
                    share = (x - x1) / (x2 - x1)
                    if y1 + share * (y2 - y1) > top - 0.3:
                        found.append(name)
    return [name for name in ("saw", "enemy", "lava", "crate") if name in found]


def ground(agent, strictness):
    """The clauses of one time on the ground: runs, and stops that last."""
    found, at = [], 0
    moves = [second[0] - first[0] for first, second in zip(agent, agent[1:])]
    ways = [0 if abs(move) < 0.2 else 1 if move > 0 else -1 for move in moves]
    for time in range(1, len(ways) + 1):
        if time < len(ways) and ways[time] == ways[at]:
            continue
        if ways[at] and abs(agent[time][0] - agent[at][0]) > 1.2 * strictness:
            found.append(RUN[ways[at]])
        elif not ways[at] and time - at >= 4:
            found.append(STAND)
        at = time
    return [clause for place, clause in enumerate(found) if place == 0 or clause != found[place - 1]]


def danger(track, last):
    """What is nearest to where the agent was in its last frame or would have come to in the next, or None."""
    (x, y), (x0, y0) = track.agent[last], track.agent[max(last - 1, 0)]
    enemies = track.enemies[last] if track.enemies else []
    nearest, kind = 2.0, None
    for name, things in (("saw", track.saws), ("enemy", enemies), ("lava", track.lava)):
        for share in (0, 0.5, 1, 1.5):
            for thing in things:
                sideways = abs(x + share * (x - x0) - thing[0])
                apart = max(sideways, abs(y + 0.58 + share * (y - y0) - thing[1])) + 0.2 * share
                if apart < nearest:
                    nearest, kind = apart, name
    return kind


def certain_clauses(track):
    """The clauses if they stay the same for stricter and laxer eyes, else None."""
    found = clauses(track)
    return found if found == clauses(track, 0.75) == clauses(track, 1.35) else None


def sentence(found):
    """The caption of a list of clauses."""
    return "the agent " + (found[0] if len(found) == 1 else ", ".join(found[:-1]) + " and " + found[-1])


def parse(text):
    """The clauses that a caption lists, or None if it is no sentence of this sample."""
    words = text.lower().strip().rstrip(".")
    if not words.startswith("the agent "):
        return None
    found = words.removeprefix("the agent ").replace(" and ", ", ").split(", ")
    return found if all(set(events([clause])) <= set(EVENTS) for clause in found) else None


def events(found):
    """What happens, without order: a clause, or its two parts if something is jumped over."""
    seen = []
    for clause in found:
        parts = clause.split(" over ")
        seen += [parts[0]] + ["over " + part for part in parts[1:]]
    return sorted(set(seen))


def held_out(found):
    """Whether training must not see these clauses."""
    return any(pair in HELD_OUT for pair in zip(found, found[1:]))
