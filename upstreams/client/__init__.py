"""The only code that talks to the upstream. It knows no Django model and no Django setting."""
