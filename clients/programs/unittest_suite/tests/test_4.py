"""Some tests."""

from __future__ import annotations

import unittest


class Case4(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(4, 4)

    def test_at_times(self):
        self.assertNotEqual(4, 3)

    @unittest.skipIf(4 == 2, "not here")
    def test_skips(self):
        pass
