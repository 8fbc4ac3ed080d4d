"""The engine against others: speed, memory, ceiling, cost by size, stages, and pictures."""
