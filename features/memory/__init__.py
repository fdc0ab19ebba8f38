"""How much memory a deployment needs, measured."""
