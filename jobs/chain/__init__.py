"""What all jobs share: the operator, the workers inside it, the wiring around it."""
