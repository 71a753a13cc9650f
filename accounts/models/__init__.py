"""Who may ask, and what they may spend."""

from accounts.models.api_key import ApiKey
from accounts.models.budget import Budget, Reservation, Spending
from accounts.models.idempotency import IdempotencyKey
from accounts.models.session import LoginAttempts, Session
from accounts.models.user import User, Users

__all__ = [
    "ApiKey",
    "Budget",
    "IdempotencyKey",
    "LoginAttempts",
    "Reservation",
    "Session",
    "Spending",
    "User",
    "Users",
]
