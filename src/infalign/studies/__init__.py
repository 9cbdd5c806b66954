"""Side questions. Each has a folder of its own, and none imports another."""
