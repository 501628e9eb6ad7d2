"""One file for each command of ``depth-completion``, named as it is typed: arguments, calls and printing."""
