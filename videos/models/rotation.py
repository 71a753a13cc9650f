"""The order in which a provider serves owners."""

from django.conf import settings
from django.db import models

from upstreams.models import Provider


class OwnerRotation(models.Model):
    """The number of an owner's last claim at a provider. The owner with the lowest number is next."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="+")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    number = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "owner"], name="owner_rotation_once")]

    def __str__(self) -> str:
        return f"{self.provider_id} {self.owner_id}: {self.number}"
