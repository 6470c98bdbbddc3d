"""How training uses the machine: processes, compiler, memory."""
