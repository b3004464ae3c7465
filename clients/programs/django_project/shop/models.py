"""One model."""

from __future__ import annotations

from django.db import models


class Item(models.Model):
    """Something to sell."""

    name = models.CharField(max_length=20)
    price = models.IntegerField()
