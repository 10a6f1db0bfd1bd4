#!/usr/bin/env python3
"""Tests of the judge on hand-made clips: `python3 test_score.py`. Needs numpy only."""

import unittest

import numpy as np

import missions
import score


def clip(agents, things):
    """Frames of names: one (x, y, direction) per frame, and per frame or once for all {(x, y): name}."""
    names = np.full((len(agents), missions.GRID, missions.GRID), "floor", dtype=object)
    names[:, 0, :] = names[:, -1, :] = names[:, :, 0] = names[:, :, -1] = "wall"
    for time, agent in enumerate(agents):
        for (x, y), name in (things[time] if isinstance(things, list) else things).items():
            names[time, y, x] = name
        if agent is not None:
            names[time, agent[1], agent[0]] = f"agent {agent[2]}"
    return names


def judge(names, sentence):
    return score.judge(names, np.zeros(names.shape), missions.parse(sentence))


WALK = [(1, 1, "down"), (1, 1, "right"), (2, 1, "right"), (3, 1, "right"), (3, 1, "right")]
BALL = {(4, 1): "red ball", (4, 4): "blue key"}


class JudgeTests(unittest.TestCase):
    def test_an_agent_that_ends_facing_the_object_has_gone_to_it(self):
        self.assertTrue(judge(clip(WALK, BALL), "go to the red ball")["all"])

    def test_facing_another_object_is_no_success(self):
        result = judge(clip(WALK, BALL), "go to the blue key")
        self.assertTrue(result["start"])
        self.assertFalse(result["mission"])

    def test_standing_beside_without_facing_is_no_success(self):
        self.assertFalse(judge(clip([*WALK[:-1], (3, 1, "down")], BALL), "go to the red ball")["mission"])

    def test_an_object_that_is_not_there_is_noticed(self):
        result = judge(clip(WALK, BALL), "go to the green box")
        self.assertFalse(result["start"] or result["mission"])

    def test_picking_up_needs_the_object_to_vanish_for_good(self):
        gone = {(4, 4): "blue key"}
        self.assertTrue(judge(clip(WALK, [BALL] * 4 + [gone]), "pick up the red ball")["all"])
        self.assertFalse(judge(clip(WALK, BALL), "pick up the red ball")["mission"])
        back = judge(clip([*WALK, WALK[-1]], [BALL] * 4 + [gone, BALL]), "pick up the red ball")
        self.assertFalse(back["mission"])

    def test_an_object_that_vanishes_out_of_reach_was_not_picked_up(self):
        gone = {(4, 4): "blue key"}
        self.assertFalse(judge(clip(WALK, [BALL] * 2 + [gone] * 3), "pick up the red ball")["mission"])

    def test_other_objects_must_stay(self):
        moved = {(4, 1): "red ball", (3, 4): "blue key"}
        result = judge(clip(WALK, [BALL] * 4 + [moved]), "go to the red ball")
        self.assertTrue(result["mission"])
        self.assertFalse(result["objects"] or result["all"])

    def test_jumps_and_half_turns_are_no_moves(self):
        self.assertFalse(judge(clip([WALK[0], *WALK[2:]], BALL), "go to the red ball")["moves"])
        turned = [(3, 1, "left"), (3, 1, "right")]
        self.assertFalse(judge(clip(turned, BALL), "go to the red ball")["moves"])
        sideways = [(3, 2, "right"), (3, 1, "right")]
        self.assertFalse(judge(clip(sideways, BALL), "go to the red ball")["moves"])

    def test_a_missing_agent_and_a_broken_wall_are_noticed(self):
        self.assertFalse(judge(clip([*WALK[:2], None, *WALK[3:]], BALL), "go to the red ball")["agent"])
        names = clip(WALK, BALL)
        names[2, 0, 3] = "floor"
        self.assertFalse(judge(names, "go to the red ball")["walls"])


class ReaderTests(unittest.TestCase):
    def test_every_picture_is_read_as_itself_even_when_dimmed_a_little(self):
        stored = np.load(score.os.path.join(score.HERE, "tiles.npz"), allow_pickle=False)
        reader = score.Reader()
        for name, picture in zip(stored["names"], stored["pixels"]):
            frame = np.tile(picture, (missions.GRID, missions.GRID, 1)).reshape(1, score.SIDE, score.SIDE, 3)
            names, distance = reader.read(frame.astype(np.float32) / 255 * 0.97)
            self.assertTrue((names == str(name)).all())
            self.assertLess(distance.max(), score.CLEAR_DISTANCE)

    def test_sentences_that_are_not_of_this_sample_are_refused(self):
        self.assertIsNone(missions.parse("go to the pink ball"))
        self.assertEqual(missions.parse("Pick up a grey key."), ("pick up", "grey", "key"))


class IntervalTests(unittest.TestCase):
    def test_the_interval_is_wilsons(self):
        # The first is an example of Newcombe 1998 (Statistics in Medicine 17, table I, method 3).
        for successes, count, low, high in ((81, 263, 0.2553, 0.3662), (90, 100, 0.8256, 0.9448), (5, 10, 0.2366, 0.7634)):
            found = score.wilson(successes, count)
            self.assertAlmostEqual(found[0], low, 4)
            self.assertAlmostEqual(found[1], high, 4)

    def test_the_interval_of_none_and_of_all_stays_within_bounds_and_has_a_width(self):
        low, high = score.wilson(0, 20)
        self.assertEqual(low, 0)
        self.assertAlmostEqual(high, 0.1611, 4)
        low, high = score.wilson(20, 20)
        self.assertAlmostEqual(low, 0.8389, 4)
        self.assertAlmostEqual(high, 1)
        self.assertTrue(np.isnan(score.wilson(0, 0)).all())

    def test_more_clips_make_it_narrower_and_the_row_carries_it(self):
        members = [{"mission": index % 10 != 0, "agent": True} for index in range(100)]
        row = score.table_row("all clips", members, ("mission", "agent"))
        self.assertEqual((row["clips"], row["mission"], row["agent"]), (100, 0.9, 1.0))
        self.assertEqual(row["mission_95"], [0.8256, 0.9448])
        wide = score.table_row("all clips", members[:10], ("mission",))["mission_95"]
        self.assertGreater(wide[1] - wide[0], row["mission_95"][1] - row["mission_95"][0])


if __name__ == "__main__":
    unittest.main()
