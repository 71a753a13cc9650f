"""The figures of /metrics. Every process counts, the database has the sums, and any web process
shows them."""
