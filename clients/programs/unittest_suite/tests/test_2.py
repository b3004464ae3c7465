"""Some tests."""

from __future__ import annotations

import unittest


class Case2(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(2, 2)

    def test_at_times(self):
        self.assertNotEqual(2, 3)

    @unittest.skipIf(2 == 2, "not here")
    def test_skips(self):
        pass
