"""Some tests."""

from __future__ import annotations

import unittest


class Case1(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(1, 1)

    def test_at_times(self):
        self.assertNotEqual(1, 3)

    @unittest.skipIf(1 == 2, "not here")
    def test_skips(self):
        pass
