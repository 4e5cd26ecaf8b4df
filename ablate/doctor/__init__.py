"""`ablate doctor`: checks the installation, and interrupts and resumes a small study."""
