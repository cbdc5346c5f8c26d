"""The pages of the inventory, by subject."""
