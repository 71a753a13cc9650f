"""What the processes write of their work, and the fields that tell one piece of work from another."""
