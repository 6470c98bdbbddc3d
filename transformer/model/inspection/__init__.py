"""What a model attends to, what it consists of and what it costs."""
