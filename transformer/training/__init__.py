"""Loss, optimizer, schedule, and the loop."""
