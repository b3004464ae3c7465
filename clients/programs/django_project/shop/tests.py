"""Tests for several processes, each with a database of its own; some fail and say why."""

from __future__ import annotations

from django.test import SimpleTestCase, TestCase

from shop.models import Item


class First(TestCase):
    def test_starts_empty(self):
        self.assertEqual(Item.objects.count(), 0)
        Item.objects.create(name="a", price=1)

    def test_is_rolled_back(self):
        self.assertEqual(Item.objects.count(), 0)
        Item.objects.bulk_create(Item(name=str(n), price=n) for n in range(50))
        self.assertEqual(Item.objects.filter(price__lt=10).count(), 10)


class Second(TestCase):
    @classmethod
    def setUpTestData(cls):
        Item.objects.create(name="shared", price=7)

    def test_sees_its_data(self):
        self.assertEqual(Item.objects.get().price, 7)

    def test_fails(self):
        self.assertEqual(Item.objects.get().price, 8)


class Third(SimpleTestCase):
    def test_raises(self):
        {}["no such key"]

    def test_of_subtests(self):
        for n in range(4):
            with self.subTest(n=n):
                self.assertNotEqual(n, 2)


class Fourth(SimpleTestCase):
    def test_passes(self):
        self.assertTrue(True)
