"""From problems to rollout groups, and what they say: collector, episodes, metrics, monitors, evaluation."""
