"""Where preparation runs: this process, several processes, or Beam."""
