"""The figures of /metrics: counted by every process, kept in the database, shown by any."""
