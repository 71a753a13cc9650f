"""Django's databases, with an end to every wait: see config.databases.timeouts."""
