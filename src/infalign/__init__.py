"""InfAlign, reproduced: inference-aware language model alignment."""
