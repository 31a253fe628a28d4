"""How the built-in model and the shipped problems were made. Nothing that runs imports this."""
