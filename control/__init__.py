"""What people and their tools touch: the command line, the demo, later the API and the console."""
