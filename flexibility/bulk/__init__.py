"""One thing done to many appliances, in the background."""
