"""Claims: which waiting jobs an upstream takes next."""
