"""`lst plan`: what a run will cost on TPUs, from its compiled program, before anything is paid for."""
