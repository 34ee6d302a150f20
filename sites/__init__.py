"""What runs inside a hospital and nowhere else."""
