"""The journeys of a job, one module each. Each call is a claim, a talk with the upstream, and a record of it:
no transaction is open while we talk."""
