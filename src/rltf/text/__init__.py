"""What the policy reads and writes: prompts as messages, messages as tokens."""
