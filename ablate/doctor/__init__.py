"""`ablate doctor`: what is installed here, and a study that is broken and resumed."""
