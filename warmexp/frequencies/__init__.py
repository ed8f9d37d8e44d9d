"""How often tokens occur in a task's training solutions."""
