"""Django's database backends with a timeout on every wait (config.databases.timeouts)."""
