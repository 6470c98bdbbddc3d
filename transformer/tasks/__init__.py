"""What each verb does, as functions: no arguments of a command line, no printing, no exit codes."""
