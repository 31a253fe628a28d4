"""How the shipped problems are made: `python -m rltf.workshops.maths_problems`. No run needs it."""
