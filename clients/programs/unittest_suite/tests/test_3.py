"""Some tests."""

from __future__ import annotations

import unittest


class Case3(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(3, 3)

    def test_at_times(self):
        self.assertNotEqual(3, 3)

    @unittest.skipIf(3 == 2, "not here")
    def test_skips(self):
        pass
