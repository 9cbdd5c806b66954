"""What a run costs before it is run: tokens, operations, memory, disk, and GPU hours between two bounds."""
