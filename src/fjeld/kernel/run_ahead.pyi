# No Python face.
