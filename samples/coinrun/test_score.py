#!/usr/bin/env python3
"""Tests of the sentences and the reader, on made-up tracks and painted clips: `python3 test_score.py`. Needs numpy."""

import unittest

import numpy as np

import score
import sentences
from sentences import Track

JUMP_HEIGHTS = [0, 2.8, 4.8, 6, 6.4, 6, 4.8, 2.8, 0]


def track(agent, **things):
    """A track with an agent at these places, filled up with its last one, and nothing else unless given."""
    agent = agent + agent[-1:] * (sentences.FRAMES - len(agent))
    return Track(**{"agent": agent, "coin": [False] * len(agent), "crates": [], "saws": [], "lava": [], **things})


def jump(x, y, step):
    """A full jump from a place, so many tiles sideways a frame."""
    return [(x + step * time, y + height) for time, height in enumerate(JUMP_HEIGHTS)]


class SentenceTests(unittest.TestCase):
    def test_running_one_way_and_back_is_two_runs(self):
        there = [(2 + 0.8 * time, 1) for time in range(8)]
        self.assertEqual(sentences.clauses(track(there + there[::-1])), ["runs to the right", "runs to the left"])

    def test_an_agent_that_does_not_move_stands_still(self):
        self.assertEqual(sentences.clauses(track([(3, 1)])), ["stands still"])

    def test_a_jump_has_a_direction_and_a_landing(self):
        self.assertEqual(sentences.clauses(track(jump(3, 1, 0)))[:2], ["jumps straight up", "lands"])
        self.assertEqual(sentences.clauses(track(jump(3, 1, 0.5)))[:2], ["jumps to the right", "lands"])
        self.assertEqual(sentences.clauses(track(jump(9, 1, -0.5)))[:2], ["jumps to the left", "lands"])

    def test_what_lies_between_start_and_landing_is_jumped_over(self):
        leap = jump(3, 1, 0.5)
        self.assertEqual(sentences.clauses(track(leap, saws=[(5.5, 1.5)]))[0], "jumps to the right over a saw")
        self.assertEqual(sentences.clauses(track(leap, saws=[(9.5, 1.5)]))[0], "jumps to the right")

    def test_a_pile_that_reaches_above_the_agent_is_not_jumped_over(self):
        low, high = [(5.5, 1.5)], [(5.5, 0.5 + height) for height in range(1, 9)]
        self.assertEqual(sentences.clauses(track(jump(3, 1, 0.5), crates=low))[0], "jumps to the right over a crate")
        self.assertEqual(sentences.clauses(track(jump(3, 1, 0.5), crates=high))[0], "jumps to the right")

    def test_the_landing_tells_where(self):
        up = jump(3, 1, 0.5)[:7] + [(6.5, 4.0)]
        self.assertEqual(sentences.clauses(track(up))[1], "lands higher up")
        self.assertEqual(sentences.clauses(track(up, crates=[(6.5, 3.5)]))[1], "lands on a crate")
        self.assertEqual(sentences.clauses(track(jump(3, 3, 0.5) + [(7.2, 1)]))[1], "lands lower down")

    def test_going_down_without_going_up_is_a_fall(self):
        self.assertEqual(sentences.clauses(track([(3, 5), (3, 4.4), (3, 2.9), (3, 1)]))[:2], ["falls down", "lands"])

    def test_two_jumps_in_a_row_are_two(self):
        found = sentences.clauses(track(jump(3, 1, 0)[:-1] + jump(3, 1, 0)[:8]))
        self.assertEqual(found, ["jumps straight up", "lands", "jumps straight up"])

    def test_an_agent_that_vanishes_was_killed_by_what_was_nearest(self):
        agent = [(2 + 0.8 * time, 1.0) for time in range(6)] + [None] * 10
        self.assertEqual(sentences.clauses(track(agent, saws=[(7.5, 1.5)]))[-1], "is killed by a saw")
        both = track(agent, enemies=[[(7.4, 1.5)]] * 16, saws=[(1.5, 1.5)])
        self.assertEqual(sentences.clauses(both)[-1], "is killed by an enemy")
        self.assertEqual(sentences.clauses(track(agent)), ["runs to the right"])

    def test_a_coin_that_vanishes_was_collected_and_ends_the_story(self):
        agent = [(2 + 0.8 * time, 1.0) for time in range(6)]
        coin = [True] * 6 + [False] * 10
        self.assertEqual(sentences.clauses(track(agent, coin=coin)), ["runs to the right", "collects the coin"])

    def test_what_is_barely_something_is_not_certain(self):
        self.assertIsNone(sentences.certain_clauses(track([(3, 1), (3.7, 1), (4.3, 1)])))
        self.assertIsNotNone(sentences.certain_clauses(track([(3, 1)])))

    def test_sentences_are_read_as_they_are_written(self):
        for found in (["stands still"], ["runs to the left", "jumps to the left over lava", "dies in the lava"]):
            self.assertEqual(sentences.parse(sentences.sentence(found)), found)
        for text in ("", "go to the red ball", "the agent flies", "the agent stands still and"):
            self.assertIsNone(sentences.parse(text))

    def test_held_out_are_neighbours_and_each_of_them_is_known(self):
        for first, second in sentences.HELD_OUT:
            self.assertTrue(sentences.held_out([first, second]))
            self.assertFalse(sentences.held_out([first]) or sentences.held_out([second, first]))
            self.assertTrue({first, second} <= set(sentences.EVENTS))


def paint(agent, saw=None, coin=(), enemies=None):
    """A clip over flat ground in the game's colours: an agent, half a saw, a coin in the frames named, enemies."""
    frames = np.zeros((len(agent), score.PIXELS, score.PIXELS, 3), np.float32)
    frames[:, 59:] = (181, 195, 196)
    frames[:, 59] = (197, 144, 94)

    def block(frame, x, bottom, wide, high, colour):
        left, low = round((x - wide / 2) / score.SCALE), round((score.VIEW - bottom) / score.SCALE)
        frame[low - round(high / score.SCALE) : low, left : left + round(wide / score.SCALE)] = colour

    for time, frame in enumerate(frames):
        if saw:
            block(frame, saw[0], saw[1] - 0.5, 0.95, 0.5, (92, 101, 100))
        if time in coin:
            block(frame, 10.5, 1.2, 0.57, 0.57, (235, 190, 3))
        for x, y in (enemies or [[]] * len(agent))[time]:
            block(frame, x, y - 0.5, 1, 0.7, (130, 190, 30))
        if agent[time]:
            block(frame, agent[time][0], agent[time][1], 0.95, 1.1, (220, 205, 178))
    return frames


class ReaderTests(unittest.TestCase):
    def test_the_agent_is_found_to_a_fraction_of_a_tile(self):
        places = [(2 + 0.5 * time, 1 + 0.4 * time) for time in range(16)]
        for place, found in zip(places, score.read_track(paint(places)).agent):
            self.assertLess(score.apart(place, found), 0.25)

    def test_no_agent_is_found_where_there_is_none(self):
        self.assertEqual(score.read_track(paint([None] * 16)).agent, [None] * 16)

    def test_saws_and_enemies_are_found_where_they_are(self):
        enemies = [[(3 + 0.3 * time, 1.5)] for time in range(16)]
        read = score.read_track(paint([None] * 16, saw=(8.5, 1.5), enemies=enemies))
        self.assertEqual(read.saws, [(8.5, 1.5)])
        for found, there in zip(read.enemies, enemies):
            self.assertEqual(len(found), 1)
            self.assertLess(score.apart(found[0], there[0]), 0.3)

    def test_a_painted_story_is_told(self):
        agent = [(2, 1.0), (2.8, 1.0), (3.6, 1.0), (4.4, 1.0), *jump(5, 1, 0.5)]
        clip = paint((agent + agent[-1:] * 16)[:16], saw=(7.5, 1.5))
        expected = ["runs to the right", "jumps to the right over a saw", "lands"]
        self.assertEqual(score.judge(clip, expected)["clauses"], expected)
        self.assertTrue(score.judge(clip, expected)["exact"])
        self.assertTrue(score.judge(clip, expected[:1])["happens"])
        self.assertFalse(score.judge(clip, expected[:1])["exact"])

    def test_a_coin_that_goes_is_collected_and_one_that_stays_is_not(self):
        agent = [(3 + 0.8 * time, 1.0) for time in range(8)]
        agent += agent[-1:] * 8
        gone, stays = paint(agent, coin=range(8)), paint(agent, coin=range(16))
        self.assertEqual(score.judge(gone, [])["clauses"], ["runs to the right", "collects the coin"])
        self.assertNotIn("collects the coin", score.judge(stays, [])["clauses"])

    def test_an_agent_that_comes_and_goes_is_no_good_agent(self):
        agent = [(3, 1.0)] * 5 + [None] * 5 + [(3, 1.0)] * 3 + [None] * 3
        self.assertFalse(score.judge(paint(agent), [])["agent"])
        self.assertTrue(score.judge(paint([(3, 1.0)] * 16), [])["agent"])

    def test_a_world_that_changes_is_not_still(self):
        clip = paint([(3, 1.0)] * 16)
        self.assertTrue(score.judge(clip, [])["world"])
        clip[8:, 20:30, 40:50] = (200, 30, 20)
        self.assertFalse(score.judge(clip, [])["world"])


class TableTests(unittest.TestCase):
    def test_events_are_counted_over_clips(self):
        results = [{"asked": ["lands"], "read": ["lands", "falls down"]}, {"asked": ["lands"], "read": []}]
        results.append({"error": "not readable"})
        rows = {row["event"]: row for row in score.event_rows(results)}
        self.assertEqual((rows["lands"]["precision"], rows["lands"]["recall"]), (1.0, 0.5))
        self.assertEqual((rows["falls down"]["precision"], rows["falls down"]["recall"]), (0.0, None))
        self.assertEqual(rows["all events"]["f1"], 0.5)

    def test_unreadable_clips_count_as_failed(self):
        row = score.clip_rows([{"exact": True, "sentence": "seen"}, {"error": "x"}])[0]
        self.assertEqual((row["clips"], row["exact"]), (2, 0.5))


if __name__ == "__main__":
    unittest.main()
