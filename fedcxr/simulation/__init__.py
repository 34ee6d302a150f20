"""What only a simulation holds, and nobody in a deployment does: all films, everyone's keys, and who is who."""
