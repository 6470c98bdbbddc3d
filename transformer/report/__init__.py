"""A run explains itself: its card, and pages and plots of what it recorded."""
