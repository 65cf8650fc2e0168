"""The commands of the runtime; rich and tyro are used here and nowhere below."""
