"""The steps of a job, one module each. Each is a claim, a call to the upstream, and a record of its outcome.
No transaction is open during the call."""
