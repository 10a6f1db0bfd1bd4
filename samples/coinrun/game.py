"""CoinRun from its package `procgen`: levels, the true state behind each step, pictures by a camera that stands still.

The state is what procgen's `get_state` returns: the fields its C++ classes write, one after the other. Pictures are
drawn by the game itself from a state in which two things were changed: how many tiles it shows, and whom it centres on,
which is an added player without size at the camera's place.
"""

import contextlib
import os
import struct

import numpy as np
from PIL import Image

with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # gym greets everybody with a notice
    from procgen import ProcgenGym3Env

LEVELS = 1_000_000  # levels that an environment draws from
VIEW = 12  # tiles along each side of a picture
PIXELS = 64  # pixels along each side of a picture
ENTITY_BYTES = 31 * 4
PLAYER, SAW, SAW_TURNED, ENEMY, CRATE = 0, 2, 3, 5, 20
COIN, WALLS, LAVAS, SPACE = 1, (15, 16), (17, 18), 100
LEFT, STAND, RIGHT, JUMP, DROP = 1, 4, 7, 1, -1  # an action is a direction, plus JUMP or DROP
AGENT_RADIUS = 0.5787  # half the height of the agent's body; half its width is 0.5


def environment(first_level, seed, pictures=False):
    """One CoinRun game of hard levels (easy ones have no enemies outside of pits) without scenery, in one theme."""
    return ProcgenGym3Env(
        num=1, env_name="coinrun", distribution_mode="hard", start_level=first_level, num_levels=LEVELS,
        rand_seed=seed, use_backgrounds=False, restrict_themes=True, center_agent=True,
        render_mode="rgb_array" if pictures else None,
    )  # fmt: skip


class State:
    """The parts of a game's state that this sample needs."""

    def __init__(self, data):
        self.data = data
        at = 4
        at += 4 + self._int(at) + 17 * 4  # the game's name, its options
        for _ in range(2):
            at += 8 + self._int(at + 4)  # random generators
        at += 16 * 4
        self.entities_at = at
        count = self._int(at)
        self.tail_at = at + 4 + count * ENTITY_BYTES
        at = self.tail_at + 19 * 4
        at += 8 + self._int(at + 4) + 7 * 4
        self.visibility_at = at
        width, height = self._int(at + 8), self._int(at + 12)
        self.grid_at = at + 20
        self.grid = np.frombuffer(data, "<i4", width * height, self.grid_at).reshape(height, width)
        self.supported = bool(self._int(self.grid_at + width * height * 4 + 8))

        rows = np.frombuffer(data, np.uint8, count * ENTITY_BYTES, entities_start(self)).reshape(count, ENTITY_BYTES)
        self.places = rows[:, :24].copy().view("<f4")  # x, y, vx, vy, half width, half height
        self.types = rows[:, 24:28].copy().view("<i4")[:, 0]
        player = int(np.flatnonzero(self.types == PLAYER)[-1])
        self.player = player
        self.x, self.y, self.vx, self.vy = (float(value) for value in self.places[player, :4])
        self.foot = self.y - AGENT_RADIUS

    def _int(self, at):
        return struct.unpack_from("<i", self.data, at)[0]

    def things(self, *types):
        """Middles of the entities of some types, `[(x, y)]` in tiles, y upwards."""
        return [(float(x), float(y)) for x, y in self.places[np.isin(self.types, types), :2]]

    def cells(self, *types):
        """Middles of the cells of the level that hold some types."""
        return [(float(x) + 0.5, float(y) + 0.5) for y, x in np.argwhere(np.isin(self.grid, types))]


def entities_start(state):
    return state.entities_at + 4


def seen_by_camera(state, left, bottom, without_agent=False, without_coin=False):
    """A state that draws what a camera sees whose picture begins `left` and `bottom` tiles from the level's corner."""
    data = state.data
    rows = [data[at : at + ENTITY_BYTES] for at in range(entities_start(state), state.tail_at, ENTITY_BYTES)]
    camera = bytearray(rows[state.player])
    struct.pack_into("<2f", camera, 0, left + VIEW / 2, bottom + VIEW / 2)
    struct.pack_into("<2f", camera, 16, 0, 0)
    if without_agent:
        del rows[state.player]
    rows.append(bytes(camera))
    tail = bytearray(data[state.tail_at :])
    struct.pack_into("<f", tail, state.visibility_at - state.tail_at, VIEW)
    if without_coin:
        for y, x in np.argwhere(state.grid == COIN):
            at = state.grid_at - state.tail_at + 4 * int(y * state.grid.shape[1] + x)
            struct.pack_into("<i", tail, at, SPACE)
    return data[: state.entities_at] + struct.pack("<i", len(rows)) + b"".join(rows) + bytes(tail)


class Camera:
    """Draws states: 512 x 512 pixels by the game, averaged to `[PIXELS, PIXELS, 3]` u8."""

    def __init__(self):
        self.game = environment(0, 0, pictures=True)

    def picture(self, state, left, bottom, **hidden):
        self.game.callmethod("set_state", [seen_by_camera(state, left, bottom, **hidden)])
        self.game.observe()
        large = self.game.get_info()[0]["rgb"]
        return np.asarray(Image.fromarray(large).reduce(large.shape[0] // PIXELS))


class Play:
    """An agent with simple skills and moods: mostly to the right, with stops, detours, good and bad jumps."""

    def __init__(self, choose):
        self.choose = choose
        self.direction, self.steps, self.jump, self.careful = STAND, 0, False, True

    def action(self, state):
        if not state.supported:
            self.steps -= 1
            return self.direction
        if self.steps <= 0:
            self.decide(state)
        self.steps -= 1
        if self.direction == STAND and not self.jump:
            return STAND
        if self.jump or (self.careful and self.must_jump(state)):
            self.jump, self.steps = False, max(self.steps, self.choose.choice((1, 6)))
            return self.direction + JUMP
        return self.direction

    def decide(self, state):
        """The next thing to do, on reaching the end of the last."""
        choose = self.choose
        self.direction = choose.choices((RIGHT, LEFT, STAND), (0.6, 0.22, 0.18))[0]
        self.steps = choose.randint(5, 16) if self.direction != STAND else choose.randint(6, 16)
        self.jump = choose.random() < (0.25 if self.direction != STAND else 0.3)
        self.careful = choose.random() < 0.75
        on_crate = any(abs(x - state.x) < 0.9 and abs(y + 0.5 - state.foot) < 0.1 for x, y in state.things(CRATE))
        if on_crate and choose.random() < 0.2:
            self.direction, self.steps, self.jump = STAND + DROP, choose.randint(5, 8), False

    def must_jump(self, state):
        """Whether a danger or a wall is next in the direction of the run."""
        sign = 1 if self.direction == RIGHT else -1
        for x, y in state.things(SAW, ENEMY):
            if 0.9 < (x - state.x) * sign < 1.6 + 2 * abs(state.vx) and abs(y - state.y) < 1.2:
                return True
        ahead, foot = int(state.x + 0.9 * sign), int(state.foot + 0.1)
        if state.grid[foot, ahead] in WALLS:
            return True
        below = state.grid[:foot, int(state.x + 0.7 * sign)]
        return foot > 0 and bool(np.isin(below, LAVAS).any()) and below[-1] not in WALLS
