"""What training costs: FLOPs, accelerators, budgets, compiled programs, and `lst plan`."""
