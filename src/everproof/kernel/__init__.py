"""What every room shares: the eight words, ids, time, errors, settings, canonical bytes."""
